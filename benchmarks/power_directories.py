"""Power cuts in large directories: recording, working out the cuts, and building disks; time and memory of each.

One program rewrites one of 1,000, 10,000 and 100,000 files; another renames all of 10,000. Each case has a process of
its own, since memory is a high-water mark; its files stand in memory, as a sandbox's do.

Run by hand: python benchmarks/power_directories.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from blackstart.faults.power import LOOKED_AT_MIN, STATES_MAX, STEPS_MAX, PowerCut, describe, fault_of, states
from blackstart.power import Recording
from blackstart.testing import materialise, record

REWRITE = """
import os
with open("tmp", "w") as f:
    f.write("new" * 3000); f.flush(); os.fsync(f.fileno())
os.rename("tmp", "f500")
os.write(1, b"saved\\n")
"""
RENAME = """
import os
for name in sorted(os.listdir(".")):
    os.rename(name, "r" + name)
os.write(1, b"saved\\n")
"""
CASES = {"1,000": (1_000, REWRITE), "10,000": (10_000, REWRITE), "100,000": (100_000, REWRITE),
         "10,000 renamed": (10_000, RENAME)}  # fmt: skip
DESCRIBED = 20


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def cuts_of(recording: Recording) -> list[PowerCut]:
    """As many cuts as a campaign chooses from, the first of them described as those that are tried."""
    limit = max(LOOKED_AT_MIN, STEPS_MAX // max(1, len(recording.micros)))
    found = [fault_of(recording, s) for s in islice(states(recording, recording.models, limit=limit), STATES_MAX)]
    for fault in found[:DESCRIBED]:
        describe(recording, fault.state(recording))
    return found


def run(case: str) -> None:
    files, program = CASES[case]
    spent: dict[str, float] = {}

    @contextmanager
    def timed(what: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        spent[what] = time.perf_counter() - began

    with tempfile.TemporaryDirectory() as work:
        state = Path(work, "state")
        state.mkdir()
        for number in range(files):
            (state / f"f{number}").write_bytes(b"old")
        before = peak_mb()
        with timed("record"):
            recording = record([sys.executable, "-I", "-S", "-c", program], state=state, cwd=state, timeout_s=600)
        recorded = peak_mb()
        with timed("choose"):
            chosen = cuts_of(recording)
        at_most = peak_mb()
        with timed("build"):
            materialise(recording, chosen[0].state(recording), Path(work, "disk"))
    print(
        f"{case:15} record {spent['record']:6.2f} s, {recorded - before:4} MB; {len(chosen):3} cuts of "
        f"{len(recording.micros):6,} steps in {spent['choose']:6.2f} s, {at_most - recorded:4} MB more; "
        f"a whole disk {spent['build']:.2f} s",
        flush=True,
    )


def main() -> None:
    if len(sys.argv) > 1:
        run(sys.argv[1])
        return
    for case in CASES:
        subprocess.run([sys.executable, __file__, case], check=True, env={**os.environ, "TMPDIR": "/dev/shm"})


if __name__ == "__main__":
    main()
