"""Starts a second in sandboxes, beside bare starts of the same command in the same minute: medians, one worker.

    python benchmarks/sandbox_starts.py [--rounds 40] [--gate]

Targets, with --gate: `true` at least 70 starts a second; `python3 -c 0` at least 0.40 of bare, from sandboxes built
beforehand at least 0.65. A fresh start counts the copy of the image, the sandbox, the start, its end, and the removal
of both; a ready one counts from the order to the end of the tree.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable

from blackstart.gate import DEFAULT
from blackstart.sandbox import Layout, Zygote
from blackstart.targets import Command, conduct
from blackstart.targets.command import GateOrder

COMMANDS = {"true": ("/bin/true",), "python3 -c 0": ("/usr/bin/python3", "-c", "0")}


def measured(action: Callable[[], object]) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--gate", action="store_true", help="stop at the calls that a trial records")
    options = parser.parse_args()
    order = GateOrder(calls=DEFAULT, mask=str) if options.gate else None
    with tempfile.TemporaryDirectory() as state:
        for name, argv in COMMANDS.items():
            command = Command(argv=argv, cwd=state, env={"PATH": "/usr/bin:/bin"})
            with Zygote(Layout.of(cwd=state, home=state, copies=[state])) as zygote:
                zygote.capture("S0")
                figures = rounds(zygote, command, order, options.rounds)
            report(name, figures)


def rounds(zygote: Zygote, command: Command, order: GateOrder | None, count: int) -> dict[str, list[float]]:
    """The three ways, taken in turn."""
    figures: dict[str, list[float]] = {"bare": [], "fresh": [], "ready": []}

    def fresh() -> None:
        zygote.copy("S0", "fresh")
        with zygote.sandbox("fresh") as sandbox:
            conduct(sandbox, command, gate=order)
        zygote.drop("fresh")

    for _ in range(count):
        figures["bare"].append(
            measured(lambda: subprocess.run(command.argv, cwd=command.cwd, env=command.env, stdin=subprocess.DEVNULL))
        )
        figures["fresh"].append(measured(fresh))
        zygote.copy("S0", "ready")
        zygote.prepare("ready")
        with zygote.sandbox("ready") as sandbox:
            figures["ready"].append(measured(lambda sandbox=sandbox: conduct(sandbox, command, gate=order)))  # type: ignore[misc]
        zygote.drop("ready")
    return figures


def report(name: str, figures: dict[str, list[float]]) -> None:
    """One line: milliseconds, starts a second, shares of bare."""
    bare, fresh, ready = (statistics.median(figures[way]) * 1000 for way in ("bare", "fresh", "ready"))
    print(
        f"{name:14} bare {bare:6.2f} ms   fresh {fresh:6.2f} ms ({1000 / fresh:5.0f}/s, {bare / fresh:.2f} of bare)   "
        f"ready {ready:6.2f} ms ({1000 / ready:5.0f}/s, {bare / ready:.2f} of bare)   [{os.cpu_count()} processors]"
    )


if __name__ == "__main__":
    main()
