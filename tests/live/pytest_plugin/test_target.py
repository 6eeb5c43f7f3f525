"""`target`: real programs whose system calls fail.

covers: M-1, M-5
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from blackstart.core.errors import TargetError
from blackstart.core.rule import RuleError
from blackstart.inprocess import NeverFired

PROGRAM = """
import os, sys
for n in range(3):
    with open("state.part", "w") as file:
        file.write(str(n))
        file.flush()
        try:
            os.fsync(file.fileno())
        except OSError as error:
            sys.exit(f"cannot save {n}: {error.strerror}")
    os.replace("state.part", "state")
"""
pytestmark = pytest.mark.live


def test_the_second_fsync_of_a_program_fails(target: Any) -> None:
    fsync = target.fail("fsync", "@2 raise(OSError: EIO)")
    ended = target.run([sys.executable, "-c", PROGRAM])
    assert (ended.status, ended.output) == (1, b"cannot save 1: Input/output error\n")
    assert (fsync.hits, fsync.fired) == (2, 1)
    assert (target.cwd / "state").read_text() == "0"
    target.heal()
    assert target.run([sys.executable, "-c", PROGRAM]).status == 0


def test_a_program_is_killed_between_two_operations(target: Any) -> None:
    target.fail("rename", "@2 kill")
    assert target.run([sys.executable, "-c", PROGRAM]).status == -9
    assert ((target.cwd / "state").read_text(), (target.cwd / "state.part").read_text()) == ("0", "1")


def test_what_never_fired_or_cannot_be_done_is_an_error(target: Any) -> None:
    with pytest.raises(RuleError):
        target.fail("fsync", "call(os.getpid)")
    target.fail("fsync", "@9 raise(OSError: EIO)")
    with pytest.raises(NeverFired, match="reached 3 times"):
        target.run([sys.executable, "-c", PROGRAM])


def test_a_program_that_does_not_end_is_killed(target: Any) -> None:
    with pytest.raises(TargetError, match="did not end within"):
        target.run(["sleep", "1000"], timeout_s=0.2)
