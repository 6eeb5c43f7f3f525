"""What the gate adds to one call: medians of a C program that writes 4 KiB to a file many times, side by side.

    python benchmarks/gate_calls.py [--rounds 5] [--calls 30000]

Targets: at most 8 us added without data, 20 us with 4 KiB of data on a known descriptor, 35 us with a path resolved and
the Python frames read, nothing measurable for calls that are not gated.
"""

from __future__ import annotations

import argparse
import os
import select
import statistics
import subprocess
import sys
import tempfile
from fcntl import ioctl
from pathlib import Path

from blackstart.gate import DEFAULT, Recorder, Supervisor, launch, notify
from blackstart.gate import filter as gate_filter

SOURCE = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
int main(int argc, char **argv) {
    long calls = atol(argv[2]); static char block[4096]; memset(block, 'x', sizeof block);
    int fd = open("target.bin", O_RDWR | O_CREAT, 0600); double begin = now();
    if (!strcmp(argv[1], "pwrite")) for (long i = 0; i < calls; i++) pwrite(fd, block, sizeof block, 0);
    else if (!strcmp(argv[1], "open")) for (long i = 0; i < calls; i++) close(openat(AT_FDCWD, "target.bin", O_RDONLY));
    else for (long i = 0; i < calls; i++) syscall(SYS_getppid);
    printf("%.9f\n", now() - begin); return 0; }
"""
SCRIPT = """
import os, sys, time
def save(fd, count):
    begin = time.perf_counter()
    for _ in range(count):
        os.replace("made", "made")
    print(time.perf_counter() - begin)
def cycle(fd, count): save(fd, count)
def main():
    os.close(os.open("made", os.O_CREAT | os.O_RDWR, 0o600))
    cycle(os.open("target.bin", os.O_RDWR | os.O_CREAT), int(sys.argv[1]))
main()
"""


def bare(argv: list[str], cwd: str) -> float:
    """Seconds that the program measured of itself."""
    return float(subprocess.run(argv, cwd=cwd, capture_output=True, check=True).stdout)


def gated(argv: list[str], cwd: str, record: Recorder | None, calls: frozenset[str]) -> float:
    """The same under the gate."""
    out, into = os.pipe()
    launched = launch(argv, gate_filter.compile(calls), cwd=cwd, stdout=into)
    os.close(into)
    with Supervisor(launched.listener, record=record, gated=calls) as supervisor:
        text = piece = b""
        while not text or piece:
            if supervisor.serve_until([out], 60):
                piece = os.read(out, 100)
                text += piece
    os.close(out)
    os.waitpid(launched.pid, 0)
    return float(text)


def floor(argv: list[str], cwd: str, calls: frozenset[str]) -> float:
    """The same under a supervisor that only waits, receives and answers: what the kernel and Python cost at least."""
    out, into = os.pipe()
    launched = launch(argv, gate_filter.compile(calls), cwd=cwd, stdout=into)
    os.close(into)
    notify.set_sync_wake_up(launched.listener)
    poll = select.poll()
    poll.register(launched.listener, select.POLLIN)
    poll.register(out, select.POLLIN)
    buffer, zeros, text = bytearray(notify.NOTIFICATION.size), bytes(notify.NOTIFICATION.size), b""
    go_on = bytearray(notify.RESPONSE.pack(0, 0, 0, notify.CONTINUE))
    while True:
        for descriptor, what in poll.poll():
            if descriptor == launched.listener:
                if not what & select.POLLIN:
                    os.waitpid(launched.pid, 0)
                    text += os.read(out, 100)
                    os.close(launched.listener)
                    os.close(out)
                    return float(text)
                buffer[:] = zeros
                ioctl(launched.listener, notify.RECEIVE, buffer)
                event = notify.NOTIFICATION.unpack_from(buffer)
                notify.IDENTITY.pack_into(go_on, 0, event[0])
                ioctl(launched.listener, notify.SEND, go_on)
            elif what & select.POLLIN:
                text += os.read(out, 100)
            else:
                poll.unregister(out)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=30000)
    chosen = parser.parse_args()
    n = str(chosen.calls)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as cwd:
        program = str(Path(cwd, "loop"))
        Path(cwd, "loop.c").write_text(SOURCE)
        subprocess.run(["gcc", "-O1", "-w", "-o", program, "loop.c"], cwd=cwd, check=True)
        Path(cwd, "rename.py").write_text(SCRIPT)
        only_open = frozenset({"openat"})
        cases: list[tuple[str, list[str], Recorder | None, frozenset[str], float]] = [
            ("not gated call", [program, "other", n], Recorder(), DEFAULT, 0),
            ("pwrite, passed on", [program, "pwrite", n], None, DEFAULT, 8),
            ("pwrite, recorded without data", [program, "pwrite", n], Recorder(), DEFAULT, 8),
            ("pwrite, recorded with 4 KiB", [program, "pwrite", n], Recorder(data=True), DEFAULT, 20),
            ("openat, path resolved", [program, "open", n], Recorder(), only_open, 35),
            ("Python's rename, paths and frames", [sys.executable, "rename.py", n], Recorder(sites=True), DEFAULT, 35),
        ]
        lowest = [floor([program, "pwrite", n], cwd, DEFAULT) for _ in range(chosen.rounds)]
        least = statistics.median(lowest) / chosen.calls * 1e6
        print(f"{'pwrite, only waited for and answered':36} {'':16} gate {least:7.2f} us")
        for title, argv, record, calls, target in cases:
            pairs = [(bare(argv, cwd), gated(argv, cwd, record, calls)) for _ in range(chosen.rounds)]
            alone, under = (statistics.median(column) / chosen.calls * 1e6 for column in zip(*pairs, strict=True))
            goal = f"<= {target:g}" if target else "none"
            print(f"{title:36} bare {alone:7.2f} us  gate {under:7.2f} us  added {under - alone:7.2f} us  goal {goal}")


if __name__ == "__main__":
    main()
