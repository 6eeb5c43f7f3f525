"""Where a program that is broken by hand runs, under the gate: in a sandbox, or on the machine as it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from blackstart.gate import Launched
    from blackstart.sandbox import Sandbox, Zygote
    from blackstart.sandbox.outside import Places

IMAGE = "test"
# Descriptors of its standard input, output and error.
Streams = tuple[int, int, int]


class Stage(Protocol):
    """listener: the gate's, after `start`; ended: readable once the main process ended by itself."""

    listener: int
    ended: int
    is_killed: bool

    def start(self, command: Sequence[str], env: Mapping[str, str], filter: bytes, streams: Streams) -> None:
        """Start the command; it waits in the gate at its first call. Raises TargetError if it cannot be executed."""

    def kill(self) -> None:
        """End all processes of the program."""

    def status(self) -> int:
        """After `kill`: the exit status of the main process, or minus the signal that ended it."""

    def usual(self, path: str) -> str:
        """What the test calls a path that the program was seen to use."""


class _Machine:
    is_killed = False

    def __init__(self, cwd: str) -> None:
        self._cwd = cwd

    def start(self, command: Sequence[str], env: Mapping[str, str], filter: bytes, streams: Streams) -> None:
        from blackstart.gate import launch

        self._launched: Launched = launch(
            command, filter, env=env, cwd=self._cwd, stdin=streams[0], stdout=streams[1], stderr=streams[2]
        )
        self.listener = self._launched.listener
        self.ended = os.pidfd_open(self._launched.pid)

    def kill(self) -> None:
        self.is_killed = True
        self._launched.kill()

    def status(self) -> int:
        os.close(self.ended)
        return os.waitstatus_to_exitcode(os.waitpid(self._launched.pid, 0)[1])

    def usual(self, path: str) -> str:
        return path


class _Contained:
    is_killed = False

    def __init__(self, cwd: str, sandbox: Sandbox, places: Places) -> None:
        self._cwd = cwd
        self._sandbox = sandbox
        self._places = places

    def start(self, command: Sequence[str], env: Mapping[str, str], filter: bytes, streams: Streams) -> None:
        stdin, stdout, stderr = streams
        started = self._sandbox.start(
            command, env=env, cwd=self._cwd, stdin=stdin, stdout=stdout, stderr=stderr, filter=filter
        )
        assert started.listener is not None
        self.listener, self.ended = started.listener, self._sandbox.fileno()

    def kill(self) -> None:
        self.is_killed = True
        self._sandbox.kill()

    def status(self) -> int:
        ended = self._sandbox.event()
        return -signal.SIGKILL if ended is None else os.waitstatus_to_exitcode(ended.status)

    def usual(self, path: str) -> str:
        return self._places.usual(path)


@contextmanager
def machine(cwd: str) -> Iterator[Stage]:
    """The machine itself: its network, all its files."""
    yield _Machine(cwd)


@contextmanager
def contained(cwd: str, into: str | None) -> Iterator[Stage]:
    """A sandbox in which the directory is a copy; afterwards `into`, which is there, holds what the program made of it.

    Raises SandboxUnavailable where none can be made, SandboxLimit where the directory is too large.
    """
    from blackstart.sandbox import Layout, Zygote, choose, probe

    home = os.path.realpath(os.environ.get("HOME") or "/")
    layout = Layout.of(cwd=cwd, home=home if os.path.isdir(home) else "/", copies=[cwd])
    with Zygote(layout, isolation=choose(probe())) as zygote:
        zygote.capture(IMAGE)
        with zygote.sandbox(IMAGE) as sandbox:
            yield _Contained(cwd, sandbox, zygote.places)
        if into is not None:
            _bring_back(zygote, cwd, into)


def _bring_back(zygote: Zygote, cwd: str, into: str) -> None:
    """Put what the copy holds in the place of what `into` held; that directory itself stays the same one."""
    from blackstart.sandbox.copying import Copier, remove_tree

    made = zygote.path(IMAGE, cwd)
    assert made is not None
    source, target = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (made, into))
    try:
        for name in os.listdir(target):
            remove_tree(target, name)
        Copier(limit_bytes=zygote.limit_bytes, from_image=True).tree(source, target, into)
    finally:
        os.close(source)
        os.close(target)
