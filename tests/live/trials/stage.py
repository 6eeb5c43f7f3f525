"""What the live tests of targets, faults and trials share: a program's directory, a zygote over it, and a bench.

Programs are short Python scripts, `/usr/bin`-style, run with this interpreter; every start has a deadline.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blackstart.core.calibration import Calibration, CleanRun, Mask
from blackstart.core.history import History, Run
from blackstart.core.masking import Masker, rooted
from blackstart.core.trace import Operation
from blackstart.faults import AnyFault
from blackstart.faults.point import Point, slim
from blackstart.gate import DEFAULT, Recorder, Tamper
from blackstart.probes import Prober
from blackstart.sandbox import Layout, Zygote
from blackstart.targets import Command, Conducted, Patience, conduct
from blackstart.targets.command import GateOrder
from blackstart.trials import Bench, Plan, run_trial

PYTHON = sys.executable
OBSERVED = DEFAULT | {"exit_group"}
# Generous where it must end by itself, short where it is meant to hang.
PATIENT = Patience(deadline_s=60.0, hard_s=120.0)
SHORT = Patience(deadline_s=0.5, hard_s=40.0)


def environment(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


class Stage:
    """One program in one directory, whose files are its state."""

    def __init__(self, base: Path, script: str = "", files: dict[str, bytes] | None = None) -> None:
        self.cwd = base / "app"
        self.cwd.mkdir()
        self.home = base / "home"
        self.home.mkdir()
        for name, data in (files or {}).items():
            (self.cwd / name).write_bytes(data)
        self.argv: tuple[str, ...] = (PYTHON, "-c", script)
        # The interpreter may lie below a place that is replaced inside.
        top = Path(*Path(PYTHON).parts[:3])
        overlays = [str(top)] if top.parent == Path("/tmp") else []
        layout = Layout.of(cwd=str(self.cwd), home=str(self.home), copies=[str(self.cwd)], overlays=overlays)
        self.zygote = Zygote(layout)
        self.zygote.capture("S0")
        chain = (CleanRun(start="S0", code=0, elapsed_s=0.1), CleanRun(start="S1", code=0, elapsed_s=0.1))
        self.bench = Bench(
            zygote=self.zygote,
            command=self.command(self.argv),
            check=None,
            masker=Masker(rooted(Mask(), str(self.cwd), str(self.home))),
            prober=Prober(self.zygote),
            calibration=Calibration(chain=chain),
        )

    def command(self, argv: Sequence[str], stdin: str = "") -> Command:
        return Command(argv=tuple(argv), cwd=str(self.cwd), env=environment(self.home), stdin=stdin)

    def runs(self, script: str) -> None:
        """From now on the program is this script."""
        self.bench.command = self.command((PYTHON, "-c", script))

    def conduct(
        self,
        *argv: str,
        patience: Patience = PATIENT,
        tampers: Sequence[Tamper] = (),
        recorder: Recorder | None = None,
        image: str = "",
        stdin: str = "",
        **more: Any,
    ) -> Conducted:
        """One start on a fresh copy of S0 (or on this image), under the gate if there is something to do for it."""
        gate = None
        if tampers or recorder:
            gate = GateOrder(calls=OBSERVED, tampers=tuple(tampers), recorder=recorder, mask=self.bench.masker)
        command = self.command(argv or self.argv, stdin)
        if image:
            with self.zygote.sandbox(image) as sandbox:
                return conduct(sandbox, command, gate=gate, patience=patience, **more)
        with self.bench.image_from("S0") as fresh, self.zygote.sandbox(fresh) as sandbox:
            return conduct(sandbox, command, gate=gate, patience=patience, **more)

    def trace(self, start: str = "S0") -> list[Operation]:
        """What the program does in a clean run from this state, on its own files and streams."""
        with self.bench.image_from(start) as image, self.zygote.sandbox(image) as sandbox:
            run, conducted = self.bench.start(
                sandbox, image, "clean", calls=OBSERVED, recorder=Recorder(mask=self.bench.masker), patience=PATIENT
            )
        assert (run.end.how, run.end.code) == ("exited", 0), run
        return [o for o in conducted.trace if o.masked.startswith("$CWD/") or not o.path.startswith("/")]

    def point(self, call: str, name: str, nth: int = 1, start: str = "S0") -> Point:
        """The n-th such call on this file, as planned from a clean run; call may be several, as `open|openat`."""
        calls = call.split("|")
        path = f"$CWD/{name}" if name not in ("stdout", "") else name
        found = [o for o in self.trace(start) if o.call in calls and o.masked == path]
        assert len(found) >= nth, (call, name, found)
        operation = found[nth - 1]
        return Point(call=operation.call, path=path, nth=operation.nth, operation=slim(operation))

    def trial(self, *faults: AnyFault, start: str = "S0", patience: Patience = PATIENT, **more: Any) -> History:
        """One trial with these faults; nothing of it is left behind."""
        kind = faults[-1].kind if faults else "null"
        images = self.zygote.names()
        history = run_trial(Plan(kind=kind, start=start, faults=faults, patience=patience, **more), self.bench)
        assert self.zygote.names() == images
        return history

    def file(self, run: Run, name: str) -> bytes | None:
        """The text of a small file after that run, or None; what was read of it as lines."""
        state = run.image.get(str(self.cwd / name))
        return None if state is None else str(state.content.leaves if state.content else "").encode()

    def size(self, run: Run, name: str) -> int:
        """The size of a file after that run; -1 if it is not there."""
        state = run.image.get(str(self.cwd / name))
        return -1 if state is None else state.size

    def names(self, run: Run) -> set[str]:
        """The files in the directory after that run."""
        prefix = f"{self.cwd}/"
        return {path.removeprefix(prefix) for path in run.image if path.startswith(prefix)}


@contextmanager
def staged(base: Path, script: str = "", files: dict[str, bytes] | None = None) -> Iterator[Stage]:
    """A stage, and afterwards nothing of it."""
    made = Stage(base, script, files)
    try:
        yield made
    finally:
        made.zygote.close()


def starts(history: History) -> list[Run]:
    """The runs that are starts of the target; after damage the history also holds what stood there before it."""
    return [run for run in history.runs if run.phase != "before"]


def printed(conducted: Conducted | Run, stream: str = "stdout") -> bytes:
    """All bytes of one stream."""
    return b"".join(output.data for output in conducted.outputs if output.stream == stream)


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
