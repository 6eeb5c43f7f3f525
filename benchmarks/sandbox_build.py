"""What a sandbox over a fresh copy of the state costs, by size of the state: medians.

    python benchmarks/sandbox_build.py [--rounds 9]

Targets: at most 15 ms with 10 MB of state, 60 ms with 100 MB. Beside it the same copy made by `cp -a` within a file
system in memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from blackstart.sandbox import Layout, Zygote

STATES = ((20, 500_000), (20, 5_000_000), (1, 100_000_000), (500, 2_000), (10_000, 100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    for count, size in STATES:
        with tempfile.TemporaryDirectory() as base, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            state = Path(base) / "state"
            state.mkdir()
            for index in range(count):
                (state / f"file{index}").write_bytes(os.urandom(size))
            copied = [copy_by_command(state, memory, index) for index in range(3)][1:]
            report(count, size, build(str(state), options.rounds), copied)


def copy_by_command(state: Path, memory: str, index: int) -> float:
    """Seconds of `cp -a` from memory to memory (the first one fetches the state)."""
    source = f"{memory}/{index - 1}" if index else str(state)
    begin = time.perf_counter()
    subprocess.run(["cp", "-a", source, f"{memory}/{index}"], check=True)
    return time.perf_counter() - begin


def build(state: str, rounds: int) -> list[tuple[float, float]]:
    """Seconds of the copy, and of the sandbox until it could start a program."""
    figures = []
    with Zygote(Layout.of(cwd=state, home=state, copies=[state])) as zygote:
        zygote.capture("S0")
        for _ in range(rounds):
            begin = time.perf_counter()
            zygote.copy("S0", "copy")
            copied = time.perf_counter()
            with zygote.sandbox("copy") as sandbox:
                sandbox.wait_ready()
                figures.append((copied - begin, time.perf_counter() - copied))
            zygote.drop("copy")
    return figures


def report(count: int, size: int, figures: list[tuple[float, float]], copied: list[float]) -> None:
    """One line in milliseconds."""
    copy = statistics.median(f[0] for f in figures) * 1000
    whole = statistics.median(sum(f) for f in figures) * 1000
    beside = statistics.median(copied) * 1000
    print(
        f"{count:6} files of {size:11,} bytes: "
        f"copy {copy:7.1f} ms, with sandbox {whole:7.1f} ms   (cp -a {beside:7.1f} ms)"
    )


if __name__ == "__main__":
    main()
