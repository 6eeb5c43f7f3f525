"""Numbered datagrams from one host to another: what was lost, doubled, damaged, overtaken, and how long each took.

`traffic.py receive PORT QUIET_S` and `traffic.py send ADDRESS PORT COUNT PER_SECOND SIZE` run on the hosts. The delay
is the kernel's time of arrival minus the time just before sending.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

TIMESTAMPNS = 35
PADDING = 0xAA


@dataclass
class Seen:
    """numbers: in the order of arrival; delays_ms: likewise; damaged: payloads that were not what was sent."""

    count: int
    numbers: list[int]
    delays_ms: list[float]
    damaged: int
    elapsed_s: float

    @property
    def lost_percent(self) -> float:
        return 100 * (self.count - len(set(self.numbers))) / self.count

    @property
    def swaps(self) -> int:
        """How often one came after a later one."""
        return sum(later < earlier for earlier, later in pairwise(self.numbers))

    @property
    def doubled_percent(self) -> float:
        return 100 * (len(self.numbers) - len(set(self.numbers))) / self.count

    def quantile_ms(self, share: float) -> float:
        ordered = sorted(self.delays_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(
    sender: Any, receiver: Any, *, count: int, per_second: float = 4000, size: int = 200, quiet_s: float = 1.0
) -> Seen:
    """Send so many datagrams between two hosts of a lab, and see what arrives until nothing has for so long."""
    python = sys.executable
    port = 7000
    pipe = subprocess.PIPE
    listening = receiver.popen([python, __file__, "receive", str(port), str(quiet_s)], stdin=pipe, stdout=pipe)
    receiver.wait_listening(port, "udp", timeout=300, process=listening)
    words = ["send", receiver.address, str(port), str(count), str(per_second), str(size)]
    sender.run([python, __file__, *words], check=True, timeout=500)
    out, _ = listening.communicate(timeout=500)
    rows = json.loads(out)
    numbers = [row[0] for row in rows]
    elapsed_s = (rows[-1][3] - rows[0][3]) / 1e9 if len(rows) > 1 else 0.0
    return Seen(count, numbers, [row[1] / 1e6 for row in rows], sum(not row[2] for row in rows), elapsed_s)


def receive(port: int, quiet_s: float) -> None:
    """Until the sender has ended (then standard input does), and nothing has come for so long since (longer before the
    first).
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
    listening.setsockopt(socket.SOL_SOCKET, TIMESTAMPNS, 1)
    listening.bind(("", port))
    rows: list[tuple[int, int, bool, int]] = []
    sources: list[Any] = [listening, sys.stdin]
    while ready := select.select(sources, [], [], _patience_s(quiet_s, rows, is_over=sys.stdin not in sources))[0]:
        if sys.stdin in ready:
            sources.remove(sys.stdin)
        if listening not in ready:
            continue
        data, ancillary, _, _ = listening.recvmsg(2048, 128)
        seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
        number, sent_ns = struct.unpack_from("=IQ", data)
        arrived_ns = seconds * 10**9 + nanoseconds
        rows.append((number, arrived_ns - sent_ns, data[12:].count(PADDING) == len(data) - 12, arrived_ns))
    print(json.dumps(rows))


def _patience_s(quiet_s: float, rows: Sequence[object], *, is_over: bool) -> float:
    if not is_over:
        return 500.0
    return quiet_s if rows else 30.0


def send(address: str, port: int, count: int, per_second: float, size: int) -> None:
    """Evenly, each with its number and its time. From one processor: each has a queue of its own, and what a busy one
    still holds is overtaken by what is sent from the other."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sending.connect((address, port))
    padding = bytes([PADDING]) * (size - 12)
    begun = time.perf_counter()
    for number in range(count):
        while (left := begun + number / per_second - time.perf_counter()) > 0:
            time.sleep(max(0.0, left - 0.0002))
        sending.send(struct.pack("=IQ", number, time.time_ns()) + padding)


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(int(sys.argv[2]), float(sys.argv[3]))
    else:
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6]))
