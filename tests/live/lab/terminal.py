"""A shell on one host, used from another through a roaming terminal; the same shell used directly is the reference."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte

from blackstart.lab import Lab, Process

ROWS, COLUMNS = 30, 90
SHELL = ["bash", "--norc", "--noprofile"]


def environment(home: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color", "PS1": "$ ", "MOSH_PREDICTION_DISPLAY": "never",
    }  # fmt: skip


class Terminal:
    """What a person sees and types: a pseudo terminal with a program behind it."""

    def __init__(self, start: Callable[[int], Any]) -> None:
        """start: starts the program on this descriptor."""
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self.process = start(slave)
        os.close(slave)
        self._typed = 0

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def look(self, seconds: float = 0.02) -> list[str]:
        """The screen, after what has come for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._master], [], [], left)[0]:
                with contextlib.suppress(OSError):  # the program has ended
                    self._stream.feed(os.read(self._master, 65536))
        return [line.rstrip() for line in self._screen.display]

    def cells(self) -> list[list[tuple[object, ...]]]:
        """All of the screen: each character with its colours and how it is written."""
        return [[tuple(self._screen.buffer[row][column]) for column in range(COLUMNS)] for row in range(ROWS)]

    def until(self, met: Callable[[list[str]], bool], limit_s: float) -> float:
        """Seconds until the screen is so; fails past the limit."""
        begun = time.monotonic()
        while not met(screen := self.look()):
            assert time.monotonic() - begun < limit_s, "the screen is still\n" + "\n".join(screen)
        return time.monotonic() - begun

    def answers(self, limit_s: float) -> float:
        """Seconds until a command that was typed has shown its result."""
        self._typed += 1
        self.type(f"echo M$((70000+{self._typed}))K\r")
        return self.until(lambda screen: f"M{70000 + self._typed}K" in screen, limit_s)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._master)


def direct(home: Path) -> Terminal:
    """The reference: the shell on the terminal itself."""
    return Terminal(
        lambda slave: subprocess.Popen(
            SHELL, stdin=slave, stdout=slave, stderr=slave, env=environment(home), cwd=home, start_new_session=True
        )
    )


def roaming(lab: Lab, home: Path, port: int = 60001) -> Terminal:
    """The shell on the lab's server, through the roaming terminal on its client."""
    server, client = lab["server"], lab["client"]
    words = ["mosh-server", "new", "-i", server.address, "-p", str(port), "--", *SHELL]
    said = server.run(words, env=environment(home), cwd=str(home))
    key = re.search(r"MOSH CONNECT \d+ (\S+)", said.stdout + said.stderr)
    assert key, said

    def start(slave: int) -> Process:
        return client.popen(
            ["mosh-client", server.address, str(port)], stdin=slave, stdout=slave, stderr=slave, cwd=str(home),
            env={**environment(home), "MOSH_KEY": key[1]},
        )  # fmt: skip

    return Terminal(start)
