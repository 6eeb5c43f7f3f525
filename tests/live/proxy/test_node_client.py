"""The published Node client, unmodified: covers R-3, IF-1. What it claims stands in node_client.js."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.live.proxy.conftest import Api

CLAIMS = 18


@pytest.mark.live
@pytest.mark.needs("node", "npm")
def test_it_drives_every_route_and_toxic(api: Api, echo: str, node_client: Path) -> None:
    script = Path(__file__).with_name("node_client.js")
    done = subprocess.run(
        ["node", str(script), str(node_client), api.url, echo], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == CLAIMS
