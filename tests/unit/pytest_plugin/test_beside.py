"""The plugin beside others: distributed, with coroutines, coverage and time-outs, all in one session.

covers: R-33
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SUITE = """
import asyncio
import pytest
import waiting

@pytest.mark.parametrize("test", [1, 2])  # two tests arm one name, in workers of their own or one after the other
@pytest.mark.asyncio
async def test_a_failpoint_in_a_coroutine(failpoints, test):
    point = failpoints.arm("waiting-fetch", "@1 raise(OSError: EIO)")
    with pytest.raises(OSError):
        await waiting.fetch()
    assert (point.hits, point.fired) == (1, 1)

@pytest.mark.asyncio
async def test_nobody_waits(clock):
    await asyncio.sleep(3600)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 3600)
    assert clock.skipped_s >= 7199
"""
PROGRAM = """async def fetch():
    # failpoint: waiting-fetch
    return 1
"""


def test_coroutines_coverage_timeouts_and_workers_at_once(tmp_path: Path) -> None:
    """covers: R-33"""
    (tmp_path / "test_it.py").write_text(SUITE)
    (tmp_path / "waiting.py").write_text(PROGRAM)
    options = ["-n", "2", "--cov=waiting", "--cov-branch", "--cov-report=term", "--timeout", "100"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False).stdout
    assert "3 passed" in shown, shown
    # The definition ran and was counted; the return behind the fault did not, and the comment is no line.
    assert "waiting.py       2      1" in shown, shown
