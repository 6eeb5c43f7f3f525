"""Which `except` and `finally` blocks of a Python program a fault leads into: one more trial, under a tracer.

The tracer is the interpreter's own, started by the environment, and changes how fast the program is; so nothing else is
judged in such a trial. Of a program in another language it tells nothing.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import msgspec

import blackstart.inprocess
from blackstart.core.history import Handler
from blackstart.faults.scene import RUN
from blackstart.trials.bench import Bench
from blackstart.trials.job import Trial
from blackstart.trials.plan import Plan

# Put first on the path of modules, where the interpreter looks for it when it starts.
START = "blackstart.inprocess.traced.sitecustomize"
TRACER = str(Path(blackstart.inprocess.__file__).parent / START.split(".")[2])
PLACE = "/tmp/.blackstart-handlers/"
_READ_MAX = 1 << 18


def handlers_of(plan: Plan, bench: Bench) -> tuple[Handler, ...]:
    """The blocks of the target's own code that this trial met, and whether it entered them."""
    command = bench.command
    path = os.pathsep.join(filter(None, (TRACER, command.env.get("PYTHONPATH", ""))))
    named = [os.path.dirname(os.path.join(command.cwd, word)) for word in command.argv if word.endswith(".py")]
    roots = os.pathsep.join(dict.fromkeys((command.cwd, *named)))
    env = {**command.env, "PYTHONPATH": path, "BLACKSTART_TRACED": roots}
    bench.command = msgspec.structs.replace(command, env=env)
    try:
        return _Traced(plan, bench).handlers()
    finally:
        bench.command = command


class _Traced(Trial):
    def handlers(self) -> tuple[Handler, ...]:
        """The fault in the first start, then a clean one, as in any trial."""
        plan, bench = self.plan, self.bench
        with bench.image_from(plan.start) as image, ExitStack() as lasting, bench.zygote.sandbox(image) as sandbox:
            scene = self.scene(sandbox, image)
            with ExitStack() as passing:
                self._start(sandbox, scene, RUN, self._inject(RUN, scene, passing, lasting), passing)
            if plan.rerun:
                self._restart(sandbox, scene, "")
            return self._read(image)

    def _read(self, image: str) -> tuple[Handler, ...]:
        lines: list[str] = []
        for entry in list(self.bench.zygote.walk(image)):
            if entry.path.startswith(PLACE) and entry.kind == "file":
                with open(self.bench.zygote.open_in(image, entry.path), "rb") as file:
                    text = file.read(_READ_MAX).rstrip(b"\0").decode("utf-8", "surrogateescape")
                lines += text.splitlines()
        rows = [line.split("\t") for line in lines]
        ran = {(row[1], row[2]) for row in rows if row[0] == "ran" and len(row) == 3}
        known = {(row[1], row[2]): row[3] for row in rows if row[0] == "has" and len(row) == 4}
        return tuple(
            Handler(path=self.bench.masker(path), line=int(line), what=what, ran=(path, line) in ran)
            for (path, line), what in sorted(known.items())
        )
