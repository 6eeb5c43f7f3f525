"""Recording a database through the gate and through strace, side by side: 2,000 commits of the sqlite3 command line.

    python benchmarks/gate_recording.py [--rounds 5] [--commits 2000]

Both stop at the same calls and keep paths and up to 4 KiB of data; medians of runs in turn, on tmpfs, where no disk
hides the cost. Targets: gate / strace at most 0.75 in WAL mode, 0.4 in rollback mode.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from blackstart.gate import DEFAULT, Recorder, Supervisor, launch
from blackstart.gate import filter as gate_filter

MODES = {"wal": 0.75, "delete": 0.4}
# Debian 12's strace does not know the youngest.
CALLS = DEFAULT - {"fchmodat2"}


def script(mode: str, commits: int) -> str:
    """SQL that commits so often."""
    head = f"pragma journal_mode={mode}; pragma synchronous=full; create table t(a, b);\n"
    return head + "".join(f"insert into t values({n}, 'some text that is not too short');\n" for n in range(commits))


def bare(cwd: Path) -> float:
    """Seconds of the program alone."""
    with open(cwd / "sql") as sql:
        begin = time.perf_counter()
        subprocess.run(["sqlite3", "t.db"], cwd=cwd, stdin=sql, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - begin


def strace(cwd: Path) -> float:
    """Seconds under strace."""
    command = ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "4096", "-o", "log"]
    command += ["-e", "trace=" + ",".join(CALLS)]
    with open(cwd / "sql") as sql:
        begin = time.perf_counter()
        subprocess.run([*command, "sqlite3", "t.db"], cwd=cwd, stdin=sql, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - begin


def gate(cwd: Path, data: bool) -> tuple[float, int]:
    """(seconds under the gate, operations recorded)"""
    sql, null = os.open(cwd / "sql", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)
    begin = time.perf_counter()
    launched = launch(["sqlite3", "t.db"], gate_filter.compile(CALLS), cwd=str(cwd), stdin=sql, stdout=null)
    with Supervisor(launched.listener, record=Recorder(data=data, data_max=4096), gated=CALLS) as supervisor:
        while not supervisor.is_ended:
            supervisor.serve_until([], 60)
        took = time.perf_counter() - begin
        count = len(supervisor.trace)
    os.waitpid(launched.pid, 0)
    os.close(sql)
    os.close(null)
    return took, count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--commits", type=int, default=2000)
    chosen = parser.parse_args()
    for mode, goal in MODES.items():
        rows: list[tuple[float, float, float, float]] = []
        count = 0
        for _ in range(chosen.rounds):
            times = []
            for run in (bare, lambda cwd: gate(cwd, False), lambda cwd: gate(cwd, True), strace):
                with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
                    Path(folder, "sql").write_text(script(mode, chosen.commits))
                    took = run(Path(folder))
                    if isinstance(took, tuple):
                        took, count = took
                    times.append(took)
            rows.append((times[0], times[1], times[2], times[3]))
        alone, plain, data, other = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"{mode:7} bare {alone * 1e3:7.0f} ms  gate {plain * 1e3:7.0f} ms  gate with data {data * 1e3:7.0f} ms  "
            f"strace {other * 1e3:7.0f} ms  ({count} calls)  gate with data / strace {data / other:.2f}  goal <= {goal}"
        )


if __name__ == "__main__":
    main()
