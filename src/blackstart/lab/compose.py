"""Profiles of a Docker Compose file, one for each profile of ours: `docker compose --profile chaos-loss-30 up`.

Each is a small service `net-...` that shares the network of the service under test and asks the kernel's netem for the
same impairment; stopping it heals. It acts on what that service sends. It never stands there while the link is good:
without netem, beside another qdisc, or when its fault is taken away (a restarted container has a new network), it says
so and ends with 1; it is healthy while its fault is there.
"""

from __future__ import annotations

import json
import re

from blackstart.lab.impairment import LabError
from blackstart.lab.profiles import PROFILES, netem

IMAGE = "alpine:3"
_INSTALL = "apk add --no-cache iproute2-tc >/dev/null || exit 1; "
_REFUSED = (
    "blackstart: the link stays as it was, for the reason above. A qdisc of unknown kind: this kernel has no netem "
    "(modprobe sch_netem on the machine, or use a lab of blackstart, which needs none). File exists, or Exclusivity "
    "flag: another profile is on, or was killed: stop it, or restart the service under test."
)
_LOST = "blackstart: the fault is gone: the service under test was restarted, or somebody healed the link"
_SERVICE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
_INTERFACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")


def compose(service: str, *, image: str = "", interface: str = "eth0") -> str:
    """The text of a Compose file for `-f`, beside that of the project; image: one that has `tc` (else one is prepared).

    Raises LabError for names that Compose or the kernel would not take.
    """
    for pattern, name, what in ((_SERVICE, service, "a service"), (_INTERFACE, interface, "an interface")):
        if not pattern.fullmatch(name):
            raise LabError(f"{name!r} is no name of {what}", next_step="give it as it stands there")
    if service in map(_name, PROFILES):
        raise LabError(f"{service!r} is the name of a service that is to be written", next_step="rename that service")
    lines = ["# docker compose -f compose.yaml -f THIS --profile chaos-loss-30 up", "services:"]
    for name, wish in PROFILES.items():
        lines += [
            f"  {_name(name)}:",
            f"    profiles: {json.dumps([name])}",
            f"    image: {json.dumps(image or IMAGE)}",
            f"    network_mode: {json.dumps('service:' + service)}",
            f"    depends_on: {json.dumps([service])}",
            "    cap_add: [NET_ADMIN]",
            f"    entrypoint: {_shell(_script(netem(wish), interface, installs=not image))}",
            f"    healthcheck: {{test: {_shell(_is_there(interface), 'CMD')}, interval: 1s, start_period: 60s}}",
        ]
    return "\n".join(lines) + "\n"


def _name(profile: str) -> str:
    """Of its service; the project may have a service `wifi` of its own."""
    return f"net-{profile}"


def _shell(script: str, *before: str) -> str:
    # Compose would take a single $ for a variable of its own.
    return json.dumps([*before, "sh", "-c", script.replace("$", "$$")])


def _is_there(interface: str) -> str:
    return f'case "$(tc qdisc show dev {interface})" in *netem*) ;; *) false ;; esac'


def _script(arguments: str, interface: str, *, installs: bool) -> str:
    # `add`, not `replace`: a qdisc that is somebody else's is neither replaced nor, at the end, taken away.
    return (
        f"{_INSTALL if installs else ''}"
        f"trap 'tc qdisc del dev {interface} root' EXIT; trap 'exit 0' TERM INT; "
        f"tc qdisc add dev {interface} root netem {arguments} || {{ trap - EXIT; echo '{_REFUSED}' >&2; exit 1; }}; "
        f"echo '{interface}: netem {arguments}'; while {_is_there(interface)}; do sleep 1 & wait $!; done; "
        f"trap - EXIT; echo '{interface}: {_LOST}' >&2; exit 1"
    )
