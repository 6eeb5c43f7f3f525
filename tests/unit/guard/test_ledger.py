"""The ledger is written before the change, and undoing it twice is undoing it once."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.guard import Ledger, undo
from blackstart.guard.ledger import pending


def test_a_work_area_that_was_left_is_removed_with_all_in_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    area = Ledger(path).work_area(str(tmp_path / "area"))
    os.makedirs(f"{area}/deep/deeper")
    (Path(area) / "deep" / "file").write_text("x")
    os.chmod(f"{area}/deep", 0)
    os.symlink("/", f"{area}/link")
    assert [u.outcome for u in undo(path)] == ["removed"]
    assert not os.path.exists(area)
    assert undo(path) == []


def test_a_released_work_area_leaves_nothing_to_undo(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    area = ledger.work_area(str(tmp_path / "area"))
    ledger.release(area)
    assert not os.path.exists(area)
    assert pending(tmp_path / "ledger") == []


def test_a_directory_that_is_not_ours_is_left(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    area = Ledger(path).work_area(str(tmp_path / "area"))
    os.unlink(f"{area}/.blackstart-work-area")
    (Path(area) / "theirs").write_text("x")
    for _ in range(2):  # what was left is told each time
        (undone,) = undo(path)
        assert undone.outcome.startswith("left")
    assert (Path(area) / "theirs").exists()


def test_what_now_stands_in_the_place_of_a_work_area_is_left(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    area = Path(Ledger(path).work_area(str(tmp_path / "area")))
    area.rename(tmp_path / "theirs")  # with our mark in it
    area.symlink_to(tmp_path / "theirs")
    (undone,) = undo(path)
    assert undone.outcome == "left: it is not the directory that was made"
    assert area.is_symlink() and os.listdir(tmp_path / "theirs")


def test_a_process_is_ended_only_if_it_is_still_the_same(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with subprocess.Popen(["sleep", "300"]) as process:
        Ledger(path).process(process.pid)
        assert [u.outcome for u in undo(path)] == ["ended"]
        assert process.wait(10) == -9
    Ledger(path).process(process.pid)
    assert [u.outcome for u in undo(path)] == ["was gone"]


def test_another_process_that_got_the_number_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with subprocess.Popen(["sleep", "300"]) as process:
        Ledger(path).process(process.pid)
        path.write_bytes(path.read_bytes().replace(b'"started":"', b'"started":"another boot, '))
        assert [u.outcome for u in undo(path)] == ["was gone"]
        assert process.poll() is None
        process.kill()


def test_a_control_group_is_removed_once_its_processes_are_gone(tmp_path: Path) -> None:
    path, group = tmp_path / "ledger", tmp_path / "group"
    with Ledger(path).group(str(group)):
        group.mkdir()
        assert [u.outcome for u in undo(path)] == ["removed"]
    with pytest.raises(ZeroDivisionError), Ledger(path).group(str(group)):
        (group / "held").mkdir(parents=True)  # stands for what the kernel refuses
        raise ZeroDivisionError
    assert [u.outcome.split(":")[0] for u in undo(path)] == ["left"] and group.exists()
    (group / "held").rmdir()
    group.rmdir()
    Ledger(path).settle()
    assert undo(path) == []


def test_processes_are_ended_before_the_groups_that_they_are_in(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    with subprocess.Popen(["sleep", "300"]) as process:
        ledger.process(process.pid)
        with contextlib.suppress(ZeroDivisionError), ledger.group(str(tmp_path / "group")):
            raise ZeroDivisionError
        assert [u.outcome for u in undo(path)] == ["ended", "was gone"]


def test_a_torn_line_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b'{"number":5,"kind":"directory","path":"/e')
    area = Ledger(path).work_area(str(tmp_path / "area"))
    assert [u.what for u in undo(path)] == [area]


def test_nothing_is_changed_where_the_disk_takes_but_a_part_of_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[: len(data) // 2]))
    with pytest.raises(BlackstartError, match="cannot be written down: No space left") as error:
        Ledger(tmp_path / "ledger").work_area(str(tmp_path / "area"))
    assert not (tmp_path / "area").exists() and error.value.exit_status == 3


def test_what_is_gone_does_no_harm_where_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger"
    with Ledger(path).group(str(tmp_path / "group")):
        monkeypatch.setattr(os, "write", lambda descriptor, data: 0)
    monkeypatch.undo()
    assert [u.outcome for u in undo(path)] == ["was gone"]


def test_a_torn_line_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    area = Ledger(path).work_area(str(tmp_path / "area"))
    with open(path, "ab") as file:
        file.write(b'{"number":5,"kind":"directory","path":"/e')
    assert [u.what for u in undo(path)] == [area]
