"""What was asked of a kernel's netem against what it did, on this machine: one line of JSON for each fault.

Run by `test_netem.py` in a guest whose kernel has netem: `python -m tests.machines.netem_accuracy COUNT PER_SECOND`.
"""

from __future__ import annotations

import json
import sys

from blackstart.lab import Burst, Host, Impairment, Lab
from blackstart.lab.chaos import NetworkChaos
from tests.live.lab.traffic import measure

LINK = ("client", "server")
ASKED = {
    "nothing": None,
    "loss 10": Impairment(loss_percent=10),
    "loss 50": Impairment(loss_percent=50),
    "bursts": Impairment(burst=Burst(enter_percent=2, leave_percent=20)),
    "delay 100": Impairment(delay_ms=100),
    "jitter": Impairment(delay_ms=100, jitter_ms=20),
    "normal": Impairment(delay_ms=100, jitter_ms=20, distribution="normal"),
    "reorder": Impairment(delay_ms=50, reorder_percent=25),
    "duplicate": Impairment(duplicate_percent=10),
    "corrupt": Impairment(corrupt_percent=5),
    "nothing again": None,
}


def refused(host: Host) -> tuple[int, int]:
    """(datagrams that the host's kernel found damaged, those for which a reader's buffer had no room), so far."""
    lines = host.run(["cat", "/proc/net/snmp"], check=True).stdout.splitlines()
    found = {
        (head.split()[0], name): int(value)
        for head, row in zip(lines[::2], lines[1::2], strict=True)
        for name, value in zip(head.split()[1:], row.split()[1:], strict=True)
    }
    damaged = found["Udp:", "InCsumErrors"] + found["Udp:", "NoPorts"] + found["Ip:", "InHdrErrors"]
    return damaged + found["Ip:", "InAddrErrors"], found["Udp:", "RcvbufErrors"]


def main() -> None:
    count, per_second = int(sys.argv[1]), float(sys.argv[2])
    with Lab("client", "server", seed=3, engine="netem") as lab, NetworkChaos(lab) as chaos:
        for name, wish in ASKED.items():
            applied = chaos.apply(LINK, wish, one_way=True) if wish is not None else None
            before = lab.ask({"do": "counts"})[0]["forwarded"]
            damaged, overrun = refused(lab["server"])
            seen = measure(lab["client"], lab["server"], count=count, per_second=per_second, quiet_s=5)
            counts = applied.counts() if applied is not None else {}
            forwarded = lab.ask({"do": "counts"})[0]["forwarded"] - before
            now_damaged, now_overrun = refused(lab["server"])
            chaos.clear()
            middle = sorted(seen.delays_ms)[len(seen.delays_ms) // 20 : -len(seen.delays_ms) // 20]
            mean = sum(middle) / len(middle)
            row = {
                "asked": name, "lost": seen.lost_percent, "doubled": seen.doubled_percent, "least_ms": min(middle),
                "p50_ms": seen.quantile_ms(0.5), "p95_ms": seen.quantile_ms(0.95), "mean_ms": mean,
                "early": sum(delay < 25 for delay in seen.delays_ms) / count, "counts": counts, "relayed": forwarded,
                "damaged": 100 * (now_damaged - damaged) / count,
                "overrun": 100 * (now_overrun - overrun) / count,
            }  # fmt: skip
            print("NETEM", json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
