"""What the live tests of the gate share: real programs, started under the filter and served until they end."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blackstart.core.rule import parse
from blackstart.core.trace import Operation
from blackstart.gate import DEFAULT, Match, Recorder, Supervisor, Tamper, launch
from blackstart.gate import filter as gate_filter

# In a guest without a processor of its own everything takes many times as long.
SLOWNESS = float(os.environ.get("BLACKSTART_TEST_SLOWNESS", "1"))
DEADLINE_S = 240.0 * SLOWNESS


@dataclass
class Ran:
    """One run: how it ended, what it printed, and the supervisor with its trace."""

    code: int
    output: bytes
    gate: Supervisor
    elapsed_s: float

    def calls(self, *names: str, path: str = "$CWD/") -> list[Operation]:
        """The operations of these calls (all, if none is named) on paths that start so."""
        return [o for o in self.gate.trace if o.masked.startswith(path) and (not names or o.call in names)]


def tamper(call: str, path: str, rule: str, **more: Any) -> Tamper:
    """A Tamper from texts."""
    planned = more.pop("planned", None)
    return Tamper(match=Match(call=call, path=path, **more), rule=parse(rule), planned=planned)


class Stage:
    """A working directory in which programs run under the gate."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd

    def mask(self, path: str) -> str:
        return path.replace(str(self.cwd), "$CWD")

    def run(
        self,
        argv: Sequence[str | bytes],
        *tampers: Tamper,
        calls: frozenset[str] = DEFAULT,
        record: Recorder | None = None,
        env: dict[str, str] | None = None,
        **more: Any,
    ) -> Ran:
        """Run to the end (its output closed and the process gone) or fail after DEADLINE_S."""
        out, into = os.pipe()
        begin = time.monotonic()
        program = gate_filter.compile(calls)
        # An empty pipe, not /dev/null: a program may change the mode of what it holds.
        empty, end = os.pipe()
        os.close(end)
        launched = launch(argv, program, cwd=str(self.cwd), stdin=empty, stdout=into, stderr=into, env=env)
        os.close(empty)
        os.close(into)
        supervisor = Supervisor(
            launched.listener,
            tampers=tampers,
            record=record or Recorder(),
            mask=self.mask,
            kill=launched.kill,
            gated=calls,
            **more,
        )
        output = b""
        try:
            while True:
                assert time.monotonic() < begin + DEADLINE_S, f"still running; so far: {output!r}"
                if supervisor.serve_until([out], 1):
                    piece = os.read(out, 65536)
                    output += piece
                    if not piece:
                        break
        finally:
            launched.kill()
            os.close(out)
            _, status = os.waitpid(launched.pid, 0)
            supervisor.close()
        return Ran(os.waitstatus_to_exitcode(status), output, supervisor, time.monotonic() - begin)

    def c(self, source: str, *flags: str) -> str:
        """A C program, compiled."""
        path = self.cwd / "program.c"
        path.write_text(source)
        subprocess.run(["gcc", "-O1", "-w", "-o", "program", *flags, str(path), "-lpthread"], cwd=self.cwd, check=True)
        path.unlink()
        return str(self.cwd / "program")

    def go(self, source: str) -> str:
        """A static Go program, compiled."""
        path = self.cwd / "program.go"
        path.write_text(source)
        env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "HOME": str(self.cwd)}
        env.setdefault("GOCACHE", "/tmp/blackstart-test-go")
        subprocess.run(["go", "build", "-o", "program", str(path)], cwd=self.cwd, check=True, env=env)
        path.unlink()
        return str(self.cwd / "program")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Until the condition holds."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.002)
