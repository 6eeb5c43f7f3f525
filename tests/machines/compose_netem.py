"""In a guest with netem: what a Compose profile runs, in a host as in a container; what was seen, as lines."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable

import msgspec

from blackstart.lab import PROFILES, Lab, netem
from blackstart.lab.compose import compose

SEVERAL_S = 120


def entrypoint(name: str) -> list[str]:
    """As Compose reads it from the file; YAML of this form is JSON from the key on."""
    lines = iter(compose("web", image="tools").splitlines())
    next(line for line in lines if line == f"  net-{name}:")
    words = next(line for line in lines if line.startswith("    entrypoint: "))
    return msgspec.json.decode(words.partition(": ")[2].replace("$$", "$"), type=list[str])


def round_trip_ms(lab: Lab) -> float:
    """The quickest of three."""
    said = lab["other"].run(["ping", "-n", "-q", "-c", "3", lab["web"].address], check=True).stdout
    return float(said.rpartition(" = ")[2].split("/")[0])


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + SEVERAL_S
    while not met():
        assert time.monotonic() < end
        time.sleep(0.1)


def main() -> None:
    with Lab("web", "other", seed=1) as lab:
        web = lab["web"]

        def qdisc() -> str:
            return web.run(["tc", "qdisc", "show", "dev", "eth0"], check=True).stdout

        before, good_ms = qdisc(), round_trip_ms(lab)
        service = web.popen(entrypoint("delay-500"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: "netem" in qdisc())
        bad_ms = round_trip_ms(lab)
        second = web.run(entrypoint("chaos-loss-30"), timeout=SEVERAL_S)
        service.terminate()
        said = b"".join(service.communicate(timeout=SEVERAL_S)).decode()
        row = {
            "good_ms": good_ms, "bad_ms": bad_ms, "second": second.returncode, "second_said": second.stderr,
            "status": service.returncode, "said": said, "left": qdisc() == before, "healed_ms": round_trip_ms(lab),
        }  # fmt: skip
        print("COMPOSE", json.dumps(row), flush=True)
        taken = {}
        for name, wish in PROFILES.items():
            added = web.run(["tc", "qdisc", "add", "dev", "eth0", "root", "netem", *netem(wish).split()])
            taken[name] = added.stderr or qdisc()
            web.run(["tc", "qdisc", "del", "dev", "eth0", "root"])
        print("PROFILES", json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
