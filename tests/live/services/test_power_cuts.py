"""Power cuts of services: what was acknowledged to whoever uses it is there after the cut, and it comes up again.

covers: M-9, M-18
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.live.programs.running import PYTHON, Ran, run

PROGRAMS = Path(__file__).parent / "programs"

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def cut(place: Path, mode: str, *options: str, trials: int) -> Ran:
    shutil.copytree(PROGRAMS, place)
    (place / "state.json").write_text("[]")  # with a file to replace nothing is stuck, which would be watched for long
    return run(
        [PYTHON, "server.py"], place, "--ready", "tcp:8123", "--workload", f"{PYTHON} work.py", "--check",
        f"{PYTHON} check.py", "--only", "power", "--trials", str(trials), *options, env={"MODE": mode},
    )  # fmt: skip


def tried(ran: Ran) -> int:
    kind: dict[str, Any] = next(kind for kind in ran.report["trials"]["kinds"] if kind["kind"] == "power")
    return int(kind["passed"]) + int(kind["failed"])


def test_a_rename_without_fsync_loses_what_was_acknowledged(tmp_path: Path) -> None:
    ran = cut(tmp_path / "service", "unsynced", "--model", "ext4", trials=8)
    assert ran.status == 1 and {f["consequence"] for f in ran.defects} == {"lost"}, ran.said()
    assert not ran.report["uncovered"], ran.said()
    lost = ran.defects[0]
    assert "acknowledged" in lost["evidence"][0] and "fsync" in lost["advice"], ran.said()


def test_fsync_before_and_of_the_directory_after_the_rename_keeps_it(tmp_path: Path) -> None:
    ran = cut(tmp_path / "service", "durable", "--model", "ext4,btrfs,fsync-fails", trials=10)
    assert ran.status == 0 and not ran.findings and tried(ran) >= 5, ran.said()


def test_a_disk_that_lies_is_no_fault_of_the_program(tmp_path: Path) -> None:
    ran = cut(tmp_path / "service", "durable", "--model", "fsync-lies", trials=6)
    assert ran.status == 0 and ran.findings and {f["label"] for f in ran.findings} == {"note"}, ran.said()
