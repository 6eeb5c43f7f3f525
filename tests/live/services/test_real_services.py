"""A real store under a set workload: as it comes it writes behind, which is a policy; made to sync, it keeps its word.

covers: L-2, M-6, R-17
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.live.programs.running import Ran, run

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server (not installed)"),
    pytest.mark.skipif(not shutil.which("redis-cli"), reason="needs redis-tools (not installed)"),
]
PORT = "6390"
WORK = f"""
for n in 1 2 3 4 5; do
  answer=$(redis-cli -p {PORT} set key$n value$n 2>&1)
  case $answer in OK) echo ok key$n;; *) echo info key$n;; esac
done
"""
CHECK = f"redis-cli -p {PORT} --raw keys 'key*' | sed 's/^/have /'"


def stored(place: Path, *more: str, trials: str) -> Ran:
    return run(
        ["redis-server", "--port", PORT, "--dir", ".", *more], place, "--ready", f"tcp:{PORT}", "--workload", WORK,
        "--check", CHECK, "--only", "kill,signal", "--trials", trials,
    )  # fmt: skip


def test_as_it_comes_it_writes_behind(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    ran = stored(tmp_path / "store", trials="8")
    assert ran.status == 0 and {(f["consequence"], f["label"]) for f in ran.defects} == {("lost", "policy")}, ran.said()
    assert "s later" in ran.report["calibration"]["write_behind"], ran.said()


def test_made_to_sync_it_keeps_its_word(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    ran = stored(tmp_path / "store", "--appendonly", "yes", "--appendfsync", "always", trials="16")
    assert ran.status == 0 and not ran.defects and not ran.report["muted"], ran.said()
