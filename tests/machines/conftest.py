"""What the tests in a guest share: one that can be booted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.machines.guest import Guest

HERE = Path(__file__).parent
KERNEL = Path(os.environ.get("BLACKSTART_GUEST_KERNEL", "/nonexistent"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Skip before any mark does: what else is missing matters only to who wants a guest, and only this is listed."""
    if not (KERNEL / "boot").is_dir():
        pytest.skip("needs BLACKSTART_GUEST_KERNEL (see tools/guest_kernel.sh)")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    work = tmp_path_factory.mktemp("machine")
    program = work / "guest"
    subprocess.run(["gcc", "-O2", "-static", "-o", program, HERE / "guest.c"], check=True)
    return Guest(KERNEL, program, work)
