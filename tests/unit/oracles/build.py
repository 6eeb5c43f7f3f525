"""Histories and calibrations built by hand: a job that keeps a JSON list of notes, one more each run.

S0 has no file; the clean run from Sk leaves k + 1 notes. Images use real paths below /w, the yardstick masked ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from blackstart.core.calibration import Acknowledgement, Calibration, CleanRun, Mask
from blackstart.core.history import EXITED, KILLED, End, History, Injected, Output, Run
from blackstart.core.masking import BEFORE, rooted
from blackstart.core.reading import Content, FileState, Image
from blackstart.core.trace import Operation
from blackstart.probes.content import read

CWD = "/w"
NOTES = "$CWD/notes.json"
MASK = rooted(Mask(), CWD, "/home/nobody")


def file(data: bytes, path: str = NOTES) -> FileState:
    content: Content = read(data, path)
    return FileState(path=path, size=len(data), digest=content.digest, content=content)


def notes(count: int) -> FileState:
    return file(json.dumps({"notes": [f"note {number}" for number in range(1, count + 1)]}).encode())


def image(files: Mapping[str, FileState | None]) -> Image:
    return {path.replace("$CWD", CWD): state for path, state in files.items() if state is not None}


def clean(start: int, **changes: Any) -> CleanRun:
    old = notes(start) if start else None
    values: dict[str, Any] = {
        "start": f"S{start}", "code": 0, "elapsed_s": 0.1, "stdout": f"saved note {start + 1}\n",
        "files": {NOTES: notes(start + 1)}, "versions": {NOTES: (old, notes(start + 1))},
        "acknowledgements": (Acknowledgement(nth=1, versions={NOTES: 1}),),
    }  # fmt: skip
    return CleanRun(**{**values, **changes})


def calibration(**changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "mask": MASK, "roles": {NOTES: "state"}, "chain": tuple(clean(k) for k in range(3)), "slowest_s": 0.1,
    }  # fmt: skip
    return Calibration(**{**values, **changes})


def run(
    phase: str,
    files: Mapping[str, FileState | None],
    *,
    end: End | None = None,
    stdout: bytes = b"",
    stderr: bytes = b"",
    **changes: Any,
) -> Run:
    outputs = tuple(Output(stream=s, data=d) for s, d in (("stdout", stdout), ("stderr", stderr)) if d)
    return Run(phase=phase, end=end or End(how=EXITED), outputs=outputs, image=image(files), **changes)


def write(path: str = NOTES, **changes: Any) -> Operation:
    return Operation(index=7, call="write", path=path.replace("$CWD", CWD), masked=path, kind="file", **changes)


def history(kind: str, runs: Sequence[Run], start: str = "S1", **changes: Any) -> History:
    injected = Injected(
        fault=f"{kind} on write {NOTES} @1", kind=kind, hits=1, fired=1, matched=True, operation=write()
    )
    values: dict[str, Any] = {"injected": () if kind == "null" else (injected,)}
    return History(start=start, kind=kind, runs=tuple(runs), **{**values, **changes})


def killed(after: FileState | None, restarted: FileState | None, start: str = "S1", **changes: Any) -> History:
    """A kill that left `after`, and a clean restart that left `restarted`."""
    stdout = changes.pop("stdout", b"")
    first = run("run", {NOTES: after}, end=End(how=KILLED), stdout=stdout)
    return history("kill", (first, run("restart", {NOTES: restarted})), start, **changes)


def refused(after: FileState | None, start: str = "S1", code: int = 1, **changes: Any) -> History:
    """A kill that left `after`, and two restarts that end with a message."""
    stdout = changes.pop("stdout", b"")
    first = run("run", {NOTES: after}, end=End(how=KILLED), stdout=stdout)
    again = [
        run(phase, {NOTES: after}, end=End(how=EXITED, code=code), stderr=b"cannot read notes.json\n")
        for phase in ("restart", "restart again")
    ]
    return history("kill", (first, *again), start, **changes)


def rerun(before: FileState | None, after: FileState | None, path: str = NOTES) -> dict[str, FileState]:
    entry = {BEFORE + path: before, path: after}
    return {key: state for key, state in entry.items() if state is not None}
