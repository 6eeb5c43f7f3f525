"""A companion's unix socket is taken over where the companion made it, and nowhere else.

covers: IF-1
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.live.trials.stage import staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

COMPANION = "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('link/s'); s.listen(); time.sleep(60)"


def test_a_link_to_a_directory_leads_to_no_socket_of_the_host(tmp_path: Path) -> None:
    with staged(tmp_path, files={}) as stage:
        there = stage.cwd / "real"
        there.mkdir()
        (stage.cwd / "link").symlink_to(there)
        stage.zygote.capture("S1")
        stage.bench.companions = (stage.command((sys.executable, "-c", COMPANION)),)
        with socket.socket(socket.AF_UNIX) as ours:
            ours.bind(str(there / "s"))
            before = (there / "s").lstat().st_ino
            with stage.bench.image_from("S1") as image, stage.zygote.sandbox(image) as sandbox:
                company = stage.bench.company(sandbox, proxied=True)
                assert company is not None
                assert company.proxies(f"socket:unix:{stage.cwd}/link/s")
                assert (there / "s").lstat().st_ino == before
            assert (there / "s").lstat().st_ino == before
