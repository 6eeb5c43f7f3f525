"""Power cuts: crash states on which the restart command is run, a second, beside bare parallel starts of that command.

    python benchmarks/power_checks.py [--rounds 3] [--seconds 4]

Targets, with as many workers as processors, without the gate: at least 0.25 of bare for `sqlite3`, 0.50 for Python. A
check is what a campaign's worker does by its lane: the state built where the last one stood, the command started, its
end, all that lives there ended, what it left read.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

from power_states import wal_recording

from blackstart.core.calibration import Mask
from blackstart.core.masking import Masker, rooted
from blackstart.faults.power import states
from blackstart.power import Recording
from blackstart.probes import Prober
from blackstart.sandbox import Layout, Zygote
from blackstart.targets import Command, Patience
from blackstart.trials import Bench
from blackstart.trials.lane import Lane

READ = "import sqlite3; print(sqlite3.connect('db').execute('select count(*) from t').fetchall())"
COMMANDS = {
    "sqlite3": (("sqlite3", "db", "select count(*) from t"), 0.25),
    "python3": (("/usr/bin/python3", "-c", READ), 0.50),
}
JOBS = len(os.sched_getaffinity(0))
PATIENCE = Patience(deadline_s=30.0, hard_s=60.0)
# A lane is built once for a whole run.
WARM_UP = 5


def per_second(seconds: float, work: Callable[[], Callable[[], None]]) -> float:
    """How often JOBS processes together do what `work` gives each of them; making it is not counted."""
    reports: list[int] = []
    for _ in range(JOBS):
        reading, writing = os.pipe()
        if os.fork() == 0:
            try:
                do = work()
                for _ in range(WARM_UP):
                    do()
                began, count = time.perf_counter(), 0
                while time.perf_counter() - began < seconds:
                    do()
                    count += 1
                os.write(writing, f"{count / (time.perf_counter() - began)}".encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(writing)
        reports.append(reading)
    total = 0.0
    for report in reports:
        with os.fdopen(report) as said:
            total += float(said.read())
        os.wait()
    return total


def bare(command: Command) -> Callable[[], None]:
    """One start of the command, with nothing around it but a copy of the state, since databases lock each other out."""
    own = f"{command.cwd}-{os.getpid()}"
    shutil.copytree(command.cwd, own)

    def start() -> None:
        subprocess.run(
            command.argv, cwd=own, env=command.env, stdin=subprocess.DEVNULL, capture_output=True, check=True
        )

    return start


def checks(command: Command, recording: Recording) -> Callable[[], None]:
    """One crash state put into a lane, and the command started on it."""
    zygote = Zygote(Layout.of(cwd=command.cwd, home=command.cwd, copies=[command.cwd]))
    zygote.capture("S0")
    masker = Masker(rooted(Mask(), command.cwd, command.cwd))
    bench = Bench(zygote=zygote, command=command, check=None, masker=masker, prober=Prober(zygote))
    lane = Lane(bench, "S0", recording)
    found = cycle(list(islice(states(recording), 200)))

    def check() -> None:
        lane.put(next(found))
        conducted = lane.conduct(command, PATIENCE)
        assert conducted.end.code == 0, conducted
        bench.read(lane.image)

    return check


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as work:
        recording = wal_recording(Path(work))
        for name, (argv, goal) in COMMANDS.items():
            command = Command(argv=argv, cwd=f"{work}/state", env={"PATH": "/usr/bin:/bin"})
            pairs = [
                (
                    per_second(options.seconds, lambda command=command: bare(command)),  # type: ignore[misc]
                    per_second(options.seconds, lambda command=command: checks(command, recording)),  # type: ignore[misc]
                )
                for _ in range(options.rounds)
            ]
            alone, checked = (statistics.median(column) for column in zip(*pairs, strict=True))
            share = statistics.median(checked / alone for alone, checked in pairs)
            print(
                f"{name:8} bare {alone:6.1f}/s   checks {checked:6.1f}/s   share {share:.2f} (goal >= {goal:.2f})   "
                f"[{JOBS} processors]"
            )


if __name__ == "__main__":
    main()
