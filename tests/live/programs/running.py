"""Runs the finished command on a program, and reads its JSON report.

The report is written outside the program's directory, so that it is no part of what is observed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLACKSTART = Path(sys.executable).parent / "blackstart"
TARGETS = Path(__file__).parent / "targets"
PYTHON = sys.executable
# As many as there are: a budget would leave out what a busy machine has no time for.
ALL = ("--trials", "1000")


@dataclass(frozen=True)
class Ran:
    """What one `blackstart run` did; report is empty where none was written."""

    status: int
    out: str
    elapsed_s: float
    report: dict[str, Any] = field(default_factory=dict)
    path: Path = Path()

    @property
    def findings(self) -> list[dict[str, Any]]:
        return list(self.report.get("findings", []))

    @property
    def defects(self) -> list[dict[str, Any]]:
        """The findings above a note."""
        return [finding for finding in self.findings if finding["label"] != "note"]

    def said(self) -> str:
        """For a failed assertion: what was found and what was printed."""
        told = [f"{f['severity']} {f['label']} {f['consequence']}: {f['fault']} @ {f['where']}" for f in self.findings]
        return "\n".join([*told, self.out])


def invoke(
    *words: str | bytes,
    cwd: Path,
    env: dict[str, str] | None = None,
    before: Sequence[str] = (),
    timeout_s: float = 300.0,
) -> subprocess.CompletedProcess[bytes]:
    """The command as a user starts it, with both outputs in one; `before`: the command that starts it."""
    return subprocess.run(
        [*before, str(BLACKSTART), *words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_s,
        check=False,
    )


def run(
    command: Sequence[str | bytes],
    cwd: Path,
    *options: str,
    seed: int = 1,
    budget: str = "",
    env: dict[str, str] | None = None,
    before: Sequence[str] = (),
    timeout_s: float = 550.0,
) -> Ran:
    """`blackstart run` on a program in this directory; no clock decides what is tried, unless there is a budget."""
    path = Path(tempfile.mkdtemp(prefix="blackstart-report-", dir=cwd.parent)) / "report.json"
    bounds = ("--budget", budget) if budget else () if "--trials" in options else ALL
    began = time.monotonic()
    done = invoke(
        "run", "--seed", str(seed), *bounds, "--json", str(path), *options, "--", *command,
        cwd=cwd, env=env, before=before, timeout_s=timeout_s,
    )  # fmt: skip
    elapsed_s = time.monotonic() - began
    report = json.loads(path.read_text()) if path.exists() else {}
    return Ran(done.returncode, done.stdout.decode(errors="replace"), elapsed_s, report, path)


def places(finding: dict[str, Any]) -> str:
    """All that a finding says of where it is, as one text to look for a file's name in."""
    return json.dumps([finding["where"], finding["evidence"]])


def replay(ran: Ran, finding: dict[str, Any], cwd: Path, *, timeout_s: float = 300.0) -> tuple[int, str]:
    """The exit status and the words of `blackstart replay REPORT.json#ID`."""
    done = invoke("replay", f"{ran.path}#{finding['id']}", cwd=cwd, timeout_s=timeout_s)
    return done.returncode, done.stdout.decode(errors="replace")
