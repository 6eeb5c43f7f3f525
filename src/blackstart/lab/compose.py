"""Profiles of a Docker Compose file, one for each profile of ours: `docker compose --profile chaos-loss-30 up`.

Each is a small service that shares the network of the service under test and asks the kernel's netem for the same
impairment; stopping it heals. It acts on what that service sends.
"""

from __future__ import annotations

import json
import re

from blackstart.lab.impairment import LabError
from blackstart.lab.profiles import PROFILES, netem

IMAGE = "alpine:3"
_INSTALL = "apk add --no-cache iproute2-tc >/dev/null && "
_SERVICE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
_INTERFACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")


def compose(service: str, *, image: str = "", interface: str = "eth0") -> str:
    """The text of a Compose file for `-f`, beside that of the project; image: one that has `tc` (else one is prepared).

    Raises LabError for names that Compose or the kernel would not take.
    """
    for pattern, name, what in ((_SERVICE, service, "a service"), (_INTERFACE, interface, "an interface")):
        if not pattern.fullmatch(name):
            raise LabError(f"{name!r} is no name of {what}")
    lines = ["# docker compose -f compose.yaml -f THIS --profile chaos-loss-30 up", "services:"]
    for name, wish in PROFILES.items():
        lines += [
            f"  {name if name[0].isalpha() else 'net-' + name}:",
            f"    profiles: {json.dumps([name])}",
            f"    image: {json.dumps(image or IMAGE)}",
            f"    network_mode: {json.dumps('service:' + service)}",
            f"    depends_on: {json.dumps([service])}",
            "    cap_add: [NET_ADMIN]",
            f"    command: {json.dumps(['sh', '-c', _script(netem(wish), interface, installs=not image)])}",
        ]
    return "\n".join(lines) + "\n"


def _script(arguments: str, interface: str, *, installs: bool) -> str:
    heal = f"tc qdisc del dev {interface} root"
    # Compose would take a single $ for a variable of its own.
    stay = "sleep 2147483647 & wait $$!"
    return (
        f"{_INSTALL if installs else ''}trap '{heal}' EXIT; trap 'exit 0' TERM INT; "
        f"tc qdisc replace dev {interface} root netem {arguments} && {{ {stay}; }}"
    )
