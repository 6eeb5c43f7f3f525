"""Runs a program of the suite as root and as an ordinary user, whoever runs the suite.

The ordinary user may be unable to read the checkout or the interpreter in use, so it gets a copy of what is needed
in a directory of its own and, if it must be, the system's interpreter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

import blackstart

ORDINARY = 54242


def people() -> list[str]:
    """The users that this run of the suite can be."""
    return ["root", "user"] if os.geteuid() == 0 else ["user"]


class Person:
    """Starts programs as one user; `base` is a directory that belongs to it and that others can see."""

    def __init__(self, name: str, base: Path) -> None:
        self.name = name
        self.base = base
        self._drop = name == "user" and os.geteuid() == 0
        library = base / "library"
        shutil.copytree(Path(blackstart.__file__).parent, library / "blackstart")
        shutil.copytree(Path(msgspec.__file__).parent, library / "msgspec")
        self.library = library
        self.work = base / "work"
        self.work.mkdir()
        if self._drop:
            os.chown(self.work, ORDINARY, ORDINARY)
        self.python = self._interpreter()

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs argv as this user."""
        drop = ["setpriv", "--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups"] if self._drop else []
        return [*drop, *argv]

    def environment(self, **more: str) -> dict[str, str]:
        """What every program of the suite gets."""
        kept = {k: v for k, v in os.environ.items() if k.startswith("BLACKSTART_")}
        return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(self.library), "HOME": str(self.work), **kept, **more}

    def run(self, *argv: str, timeout_s: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(
            self.command([self.python, *argv]),
            env=self.environment(**more), cwd=self.work, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def start(self, *argv: str, **more: str) -> subprocess.Popen[str]:
        """Start and go on."""
        return subprocess.Popen(
            self.command([self.python, *argv]),
            env=self.environment(**more), cwd=self.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _interpreter(self) -> str:
        # It must be able to start itself too: setpriv's own start still has the power of root.
        version = "import sys; print(sys.version_info[:2])"
        itself = f"import msgspec, subprocess, sys; subprocess.run([sys.executable, '-c', {version!r}])"
        for candidate in (sys.executable, "/usr/bin/python3"):
            try:
                tried = subprocess.run(
                    self.command([candidate, "-c", itself]),
                    env={"PYTHONPATH": str(self.library)}, cwd="/", capture_output=True, text=True, check=False,
                )  # fmt: skip
            except OSError:
                continue
            if tried.returncode == 0 and tried.stdout.strip() == str(sys.version_info[:2]):
                return candidate
        pytest.skip("needs an ordinary user's interpreter of this version")


@contextmanager
def person(name: str) -> Iterator[Person]:
    """A person with a fresh directory."""
    base = Path(tempfile.mkdtemp(prefix="blackstart-test-"))
    os.chmod(base, 0o755)
    try:
        yield Person(name, base)
    finally:
        subprocess.run(["chmod", "-R", "u+rwx", str(base)], check=False, capture_output=True)
        shutil.rmtree(base, ignore_errors=True)
