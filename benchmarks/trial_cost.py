"""What a trial costs besides the target's own two runs, and what a second worker brings: medians, side by side.

    python benchmarks/trial_cost.py [--rounds 40] [--seconds 5]

Targets: at most 25 ms a trial besides the two runs (as they take bare, in the same minute); two workers at least 1.2
times one on two processors. A trial is: copy of the start state, sandbox, the run (killed in the gate at its end, or
left alone), its state read, the restart, its state read, everything ended and dropped. `benchmarks/sandbox_starts.py`
has the starts alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from blackstart.campaign.execute import Queue, Task, each, workers
from blackstart.campaign.worker import Workshop
from blackstart.core.calibration import Calibration, CleanRun, Mask
from blackstart.core.masking import Masker, rooted
from blackstart.faults.kill import Kill
from blackstart.faults.point import Point
from blackstart.probes import Prober
from blackstart.sandbox import Layout, Zygote
from blackstart.targets import Command, Patience
from blackstart.trials import Bench, Plan, run_trial

COMMANDS = {
    "true": ("/bin/true",),
    "python3 -c 0": ("/usr/bin/python3", "-c", "0"),
    "sh, one file rewritten": ("/bin/sh", "-c", "echo new > state.new && mv state.new state"),
}
PATIENCE = Patience(deadline_s=30.0, hard_s=60.0)
NULL = Plan(kind="null", start="S0", patience=PATIENCE)
KILL = Plan(
    kind="kill", start="S0", patience=PATIENCE, faults=(Kill(point=Point(call="exit_group", path="", nth=1)),)
)  # fmt: skip


def measured(argv: tuple[str, ...], cwd: str) -> float:
    """Seconds of one bare run."""
    begin = time.perf_counter()
    subprocess.run(argv, cwd=cwd, env={"PATH": "/usr/bin:/bin"}, stdin=subprocess.DEVNULL, capture_output=True)
    return time.perf_counter() - begin


def workshop(zygote: Zygote, layout: Layout, command: Command) -> Workshop:
    """What a worker needs; the yardstick says only that exit status 0 is clean."""
    mask = rooted(Mask(), layout.cwd, layout.home)
    calibration = Calibration(mask=mask, chain=(CleanRun(start="S0", code=0, elapsed_s=0.1),), slowest_s=0.1)
    return Workshop(
        layout=layout, isolation="namespaces", command=command, check=None, calibration=calibration,
        images={"S0": zygote.root("S0")},
    )  # fmt: skip


def costs(zygote: Zygote, shop: Workshop, rounds: int) -> dict[str, list[float]]:
    """Bare run, null trial and kill trial in turn, in seconds."""
    bench = Bench(
        zygote=zygote, command=shop.command, check=None, masker=Masker(shop.calibration.mask), prober=Prober(zygote),
        calibration=shop.calibration,
    )  # fmt: skip
    figures: dict[str, list[float]] = {"bare": [], "null": [], "kill": []}
    for _ in range(rounds):
        figures["bare"].append(measured(shop.command.argv, shop.command.cwd))
        for name, plan in (("null", NULL), ("kill", KILL)):
            begin = time.perf_counter()
            history = run_trial(plan, bench)
            figures[name].append(time.perf_counter() - begin)
            assert len(history.runs) == 2 and not history.trouble, history
    return figures


def throughput(shop: Workshop, jobs: int, seconds: float) -> float:
    """Kill trials a second with so many workers; the time they need to begin is left out."""
    queue = Queue()
    queue.others.extend(Task(KILL, "trial") for _ in range(100_000))
    ended: list[float] = []
    first = 2 * jobs

    def is_over() -> bool:
        return len(ended) > first and ended[-1] - ended[first] > seconds

    with workers(shop, jobs) as executor:
        for _ in each(executor, queue, jobs, is_over):
            ended.append(time.perf_counter())
    return (len(ended) - 1 - first) / (ended[-1] - ended[first])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    for name, argv in COMMANDS.items():
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "state").write_text("old\n")
            command = Command(argv=argv, cwd=directory, env={"PATH": "/usr/bin:/bin", "HOME": directory})
            layout = Layout.of(cwd=directory, home=directory, copies=[directory])
            with Zygote(layout) as zygote:
                zygote.capture("S0")
                shop = workshop(zygote, layout, command)
                figures = costs(zygote, shop, options.rounds)
                # In turn, so that what else the machine does meets both.
                pairs = [(throughput(shop, 1, options.seconds), throughput(shop, 2, options.seconds)) for _ in range(3)]
        bare, null, kill = (statistics.median(figures[what]) * 1000 for what in ("bare", "null", "kill"))
        one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"{name:22} bare {bare:6.2f} ms   null trial {null:6.2f} ms (besides two runs {null - 2 * bare:6.2f})   "
            f"kill trial {kill:6.2f} ms (besides {kill - 2 * bare:6.2f}; goal <= 25)   "
            f"one worker {one:5.1f}/s, two {two:5.1f}/s: {two / one:.2f} (goal >= 1.2)   [{os.cpu_count()} processors]"
        )


if __name__ == "__main__":
    main()
