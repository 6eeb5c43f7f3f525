"""Kind kill-one: children by their roles, never the first process."""

from __future__ import annotations

import os
import signal
import subprocess

import msgspec
import pytest

from blackstart.faults import AnyFault
from blackstart.faults.kill_one import KillOne, candidates
from blackstart.faults.point import Point

from .build import NOTES, calibration, clean, trace
from .scenes import Caller, conducted, scene

POINT = Point(call="write", path=NOTES, nth=1)
PARENT, CHILD, OTHER = {"process": 2}, {"process": 5}, {"process": 6}
PIPE = {"kind": "pipe", "size": 5}


def chosen(*rows: tuple[object, ...]) -> set[tuple[str, str, str]]:
    one = clean(trace(*rows))
    found = [c.fault for c in candidates(one, calibration(None, one)) if not c.crash]
    return {(f.role, f.point.call, f.point.path) for f in found if isinstance(f, KillOne)}


def test_a_program_without_children_gives_none() -> None:
    assert chosen(("execve", "/bin/app", PARENT), ("write", NOTES, PARENT), ("exit_group", "", PARENT)) == set()


def test_a_child_before_its_changes_its_first_answer_and_its_end() -> None:
    found = chosen(
        ("execve", "/bin/app", PARENT),
        ("write", NOTES, {**CHILD, "size": 5}),
        ("write", "pipe:", {**CHILD, **PIPE}),
        ("write", "pipe:", {**CHILD, **PIPE}),
        ("exit_group", "", CHILD),
        ("exit_group", "", PARENT),
    )
    role = "a child of app"
    assert found == {(role, "write", NOTES), (role, "write", "pipe:"), (role, "exit_group", "")}


def test_a_child_is_named_by_the_program_that_it_became() -> None:
    found = chosen(("execve", "/bin/app", PARENT), ("execve", "/usr/bin/gzip", OTHER), ("exit_group", "", OTHER))
    assert found == {("gzip", "exit_group", "")}


def test_the_child_is_dead_before_its_call_is_answered_and_the_first_process_is_spared() -> None:
    one = scene()
    with subprocess.Popen(["sleep", "1000"]) as child, pytest.raises(KeyError):
        with KillOne(point=POINT, role="app").inject(one):
            kill, remember = one.tampers
            assert kill.act is not None and remember.act is not None
            remember.act(Caller(os.getpid()))
            done, note = kill.act(Caller(os.getpid()))
            assert not done and "first" in note
            assert kill.act(Caller(child.pid)) == (True, "")
            assert os.waitpid(child.pid, os.WNOHANG)[1] == signal.SIGKILL
            assert kill.act(Caller(child.pid)) == (False, "it had ended by itself")
            raise KeyError
    assert one.tampers == []


def test_it_fired_only_if_a_child_was_there() -> None:
    fault = KillOne(point=POINT, role="app")
    assert fault.account(conducted((0, ""), hits=(1,)), 0).fired == 1
    account = fault.account(conducted((0, "the first came"), delivered=False, hits=(1,)), 0)
    assert (account.fired, account.note) == (0, "the first came")


def test_json_and_text() -> None:
    fault = KillOne(point=POINT, role="gzip", phase="restart")
    assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault
    assert str(fault) == "kill gzip alone before write $CWD/notes.json @1 during recovery"
