"""What a lab cannot have or do is said, as root and as an ordinary user, and the machine stays as it was.

covers: T-1, L-3
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.live.sandbox.people import people, person

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

SCRIPT = """
import os, signal, sys
from blackstart.core.errors import BlackstartError
from blackstart.lab import Lab, NetworkChaos

def refused(name, act):
    try:
        act()
        print(name, "| nothing was said", flush=True)
    except BlackstartError as error:
        print(name, "|", error.what, flush=True)

def opened(*hosts, **more):
    with Lab(*hosts, **more):
        pass

refused("name twice", lambda: opened("a", "a"))
refused("no name", lambda: opened("a b"))
refused("too many", lambda: opened(*(f"h{n}" for n in range(1001))))
refused("no engine", lambda: opened("a", engine="tc"))
refused("adopted is gone", lambda: opened("a", adopted={"b": 2**22 + 1}))
with Lab("a", "b", seed=1) as lab, NetworkChaos(lab) as chaos:
    refused("address clashes", lambda: chaos.roam("a", lab["b"].address))
    for name, act in {
        "loss": lambda: chaos.apply_loss("all", -1), "nan": lambda: chaos.apply_delay("all", float("nan")),
        "long": lambda: chaos.apply_delay("all", 1e18), "endless": lambda: chaos.apply_loss("all", 1, duration_s=1e300),
        "rate": lambda: chaos.apply_rate("all", -5), "copies": lambda: chaos.apply_duplicate("all", 5, -2),
    }.items():
        refused(name, act)
    print("after all that", lab["a"].run([sys.executable, "-c", "import socket; socket.gethostbyname('b')"]).returncode)
    gone = lab["b"].popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    os.kill(gone.pid, signal.SIGKILL)
    print("process is gone", gone.wait(20))
    chaos.apply_loss("b", 50).heal()
"""
SAID = {
    "name twice": "host 'a' stands twice", "no name": "is no name for a host", "too many": "too many",
    "no engine": "no engine 'tc'", "adopted is gone": "cannot be opened", "address clashes": "taken",
    "loss": "loss_percent", "nan": "delay_ms", "long": "delay_ms", "endless": "duration_s", "rate": "rate",
    "copies": "copies",
}  # fmt: skip
# Neither the tools that others need nor the device are there.
BARE = 'mount -t tmpfs none /dev/net 2>/dev/null; exec env PATH=/nowhere "$@"'
WITHOUT = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'


def machine() -> dict[str, str]:
    """What a lab must not change: interfaces, addresses, routes, the firewall, network settings, names."""
    places = [Path(f"/proc/net/{name}") for name in ("route", "fib_trie", "if_inet6", "ip_tables_names")]
    places = [place for place in (*places, Path("/etc/hosts")) if os.access(place, os.R_OK)]
    found = {str(place): place.read_text() for place in places}
    found["interfaces"] = " ".join(sorted(os.listdir("/sys/class/net")))
    for folder, _, names in os.walk("/proc/sys/net"):
        for name in names:
            if name.endswith("_count"):
                continue  # of connections, as they are now
            try:
                found[f"{folder}/{name}"] = Path(folder, name).read_text()
            except OSError:
                continue
    found["firewall"] = subprocess.run(["sh", "-c", "nft list ruleset"], capture_output=True, text=True).stdout
    return {name: hashlib.sha1(text.encode()).hexdigest() if len(text) > 200 else text for name, text in found.items()}


@pytest.mark.parametrize("name", people())
def test_what_makes_no_sense_is_refused_without_any_tool_and_the_machine_stays_as_it_was(name: str) -> None:
    before = machine()
    with person(name) as someone:
        inside = ["unshare", "-m" if name == "root" else "-Urm", "sh", "-c", BARE, "sh"]
        done = subprocess.run(
            someone.command([*inside, someone.python, "-c", SCRIPT]), env=someone.environment(), cwd=someone.work,
            capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
    said = dict(line.split(" | ", 1) for line in done.stdout.splitlines() if " | " in line)
    assert said.keys() == SAID.keys(), done
    assert not {name: words for name, words in said.items() if SAID[name] not in words}, said
    assert done.stdout.splitlines()[-2:] == ["after all that 0", "process is gone -9"], done
    assert machine() == before


@pytest.mark.parametrize("name", people())
def test_without_namespaces_there_is_no_lab_and_the_next_step_is_said(name: str) -> None:
    script = "from blackstart.lab import Lab\nwith Lab('a', 'b'): pass"
    with person(name) as someone:
        done = subprocess.run(
            someone.command(["unshare", "-Ur", "sh", "-c", WITHOUT, "sh", someone.python, "-c", script]),
            env=someone.environment(), cwd=someone.work, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
    assert done.returncode == 1 and "this machine gives no namespaces" in done.stderr, done
    assert "allow unprivileged user namespaces" in done.stderr
