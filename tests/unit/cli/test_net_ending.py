"""What interrupts `blackstart net` just as its command starts reaches the command (covers: T-1)."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from blackstart.cli.ending import held
from blackstart.cli.net import _ended


class Started:
    """A command that ends when it is told to."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def send_signal(self, number: int) -> None:
        self.told.append(number)

    def wait(self, timeout: float | None = None) -> int:
        if not self.told:
            raise subprocess.TimeoutExpired("it", 0)
        return 5


def test_a_command_is_told_of_what_came_while_it_was_being_started() -> None:
    started = Started()

    def start() -> Started:
        os.kill(os.getpid(), signal.SIGINT)
        return started

    with pytest.raises(KeyboardInterrupt):
        _ended(start)  # type: ignore[arg-type]
    assert started.told == [signal.SIGINT]


def test_what_is_held_comes_at_the_end_and_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    done = []
    try:
        with pytest.raises(KeyboardInterrupt, match="SIGINT"), held():
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGINT)
            done.append("the rest")
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert done == ["the rest"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
