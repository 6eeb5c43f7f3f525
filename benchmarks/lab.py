"""The lab: how fast hosts come and go, what a link costs beside a bare one, how exact its delays are.

Every throughput is measured beside that of a bare veth pair in the same run; medians of several rounds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from blackstart.lab import Host, Lab, NetworkChaos
from tests.live.lab.traffic import measure

TAKE = """
import socket, sys, time
c = socket.create_server(("", 9100)).accept()[0]
n, begun, buffer = 0, time.monotonic(), bytearray(1 << 20)
while got := c.recv_into(buffer): n += got
print(n * 8 / (time.monotonic() - begun) / 1e9)
"""
GIVE = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], 9100)); end = time.monotonic() + float(sys.argv[2]); data = bytes(1 << 18)
while time.monotonic() < end: s.sendall(data)
"""


def timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * 1000


def up_and_down(count: int, rounds: int) -> tuple[float, float]:
    """Median milliseconds to open and to close a lab of so many hosts."""
    ups, downs = [], []
    for _ in range(rounds):
        lab = Lab(*(f"h{number}" for number in range(count)))
        ups.append(timed(lab.__enter__))
        downs.append(timed(lab.close))
    return statistics.median(ups), statistics.median(downs)


def gigabits(sender: Host, receiver: Host, address: str, seconds: float) -> float:
    taking = receiver.popen([sys.executable, "-c", TAKE], stdout=subprocess.PIPE)
    receiver.wait_listening(9100, process=taking)
    sender.run([sys.executable, "-c", GIVE, address, str(seconds)], check=True, timeout=seconds + 60)
    return float(taking.communicate(timeout=60)[0])


def bare(lab: Lab) -> str:
    """A plain veth pair between the two hosts, beside the lab's own link; the address of its far end."""
    near, far = lab["a"], lab["b"]
    asleep = far.popen(["sleep", "1000"])
    steps = [
        ["ip", "link", "add", "bare0", "type", "veth", "peer", "name", "bare1"],
        ["ip", "link", "set", "bare1", "netns", _inner(lab, asleep.pid)],
        ["ip", "addr", "add", "10.9.0.1/24", "dev", "bare0"], ["ip", "link", "set", "bare0", "up"],
    ]  # fmt: skip
    for step in steps:
        near.run(step, check=True)
    for step in (["ip", "addr", "add", "10.9.0.2/24", "dev", "bare1"], ["ip", "link", "set", "bare1", "up"]):
        far.run(step, check=True)
    return "10.9.0.2"


def _inner(lab: Lab, pid: int) -> str:
    """The number of a process inside the lab, where `ip` looks it up."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[-1] for line in lines if line.startswith("NSpid:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    wanted = parser.parse_args()
    for count in (2, 10, 50):
        up, down = up_and_down(count, wanted.rounds)
        print(f"{count:3} hosts: up in {up:.0f} ms, down in {down:.0f} ms")
    for others in (18, 0):
        throughput_and_delays([f"h{number}" for number in range(others)], wanted)


def throughput_and_delays(others: list[str], wanted: argparse.Namespace) -> None:
    """others: hosts on the same network that say nothing."""
    with Lab("a", "b", *others, seed=1) as lab, NetworkChaos(lab) as chaos:
        print(f"\n{len(lab.hosts)} hosts")
        a, b, far = lab["a"], lab["b"], bare(lab)
        rows: dict[str, list[float]] = {"bare veth": [], "unfaulted link": [], "1 ms delay": [], "0.01 % loss": []}
        for _ in range(wanted.rounds):
            rows["bare veth"].append(gigabits(a, b, far, wanted.seconds))
            rows["unfaulted link"].append(gigabits(a, b, b.address, wanted.seconds))
            with chaos.apply_delay(("a", "b"), 1):
                rows["1 ms delay"].append(gigabits(a, b, b.address, wanted.seconds))
            with chaos.apply_loss(("a", "b"), 0.01):
                rows["0.01 % loss"].append(gigabits(a, b, b.address, wanted.seconds))
        base = statistics.median(rows["bare veth"])
        for name, values in rows.items():
            print(f"{name:15} {statistics.median(values):6.2f} Gb/s  {statistics.median(values) / base:.2f} of bare")
        for delay_ms in (10, 100):
            with chaos.apply_delay(("a", "b"), delay_ms):
                seen = measure(a, b, count=10_000, per_second=2000)
            late = [seen.quantile_ms(share) - delay_ms for share in (0.0, 0.5, 0.99)]
            print(f"{delay_ms} ms asked: late by {late[0]:.2f} (least), {late[1]:.2f} (p50), {late[2]:.2f} ms (p99)")


if __name__ == "__main__":
    main()
