"""A lab as a TOML file: its hosts, who is on which network, what runs where, and which links are bad.

[hosts.server]
command = ["python3", "-m", "http.server", "8000"]
ready = 8000                    # wait until it listens there
[hosts.client]

[[chaos]]
where = ["client", "server"]    # a pair, a host, or "all"
profile = "3g"                  # or the keys of an impairment: loss_percent = 30, delay_ms = 100 ...
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from blackstart.core.documents import from_toml
from blackstart.lab.impairment import EMULATOR, Impairment, LabError
from blackstart.lab.profiles import profile

DESCRIPTION_BYTES_MAX = 1 << 20


class HostDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """command: what runs there from the beginning; ready: the TCP port on which it then listens."""

    command: list[str] = []
    ready: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class Bad(msgspec.Struct, frozen=True):
    """One bad link: where (a host, a pair, "all"), one_way, what is done to its packets, and where in the file."""

    place: str
    where: str | tuple[str, str]
    impairment: Impairment
    one_way: bool = False


class Description(msgspec.Struct, frozen=True):
    """What a file says: hosts by name; networks: name -> hosts, {} for one with all; seed, None for a new one;
    engine and roles: as of a Lab."""

    hosts: dict[str, HostDescription]
    networks: dict[str, list[str]] = {}
    chaos: tuple[Bad, ...] = ()
    seed: int | None = None
    engine: str = EMULATOR
    roles: dict[str, list[str]] = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    hosts: dict[str, HostDescription]
    networks: dict[str, list[str]] = {}
    chaos: list[dict[str, Any]] = []
    seed: int | None = None
    engine: str = EMULATOR
    roles: dict[str, list[str]] = {}


def read_description(path: Path) -> Description:
    """Read a file; raises BlackstartError that names the file and the key."""
    try:
        if path.stat().st_size > DESCRIPTION_BYTES_MAX:
            raise LabError("a lab's description this large is refused", where=str(path), next_step="name another file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LabError(
            f"the lab's description cannot be read: {error.strerror}", where=str(path), next_step="check the path"
        ) from None
    except UnicodeDecodeError as error:
        what = f"the lab's description is no text: {error}"
        raise LabError(what, where=str(path), next_step="save it as UTF-8") from None
    step = "a lab has hosts, networks, roles, chaos, seed and engine; a host has command and ready"
    found = from_toml(text, _File, what="this lab's description", where=str(path), next_step=step)
    idle = next((name for name, host in found.hosts.items() if host.ready and not host.command), "")
    if idle:
        what = f"host {idle!r} is to listen on port {found.hosts[idle].ready}, and no command runs there"
        raise LabError(what, where=str(path), next_step="give it a command, or leave `ready` out")
    on_networks = {host for hosts in found.networks.values() for host in hosts}
    if found.networks and on_networks != found.hosts.keys():
        lost = sorted(on_networks ^ found.hosts.keys())[0]
        raise LabError(
            f"host {lost!r} stands in only one of hosts and networks",
            where=str(path),
            next_step="name each host in [hosts], and put it on a network where there are [networks]",
        )
    bad = tuple(_bad(entry, f"{path}: chaos {number}") for number, entry in enumerate(found.chaos, 1))
    return Description(found.hosts, found.networks, bad, found.seed, found.engine, found.roles)


def _bad(entry: Mapping[str, Any], where: str) -> Bad:
    rest = dict(entry)
    try:
        if "where" not in rest:
            raise LabError("it is not said where", next_step='give `where`: a pair of hosts, one of them, or "all"')
        place = msgspec.convert(rest.pop("where"), str | tuple[str, str])
        one_way = msgspec.convert(rest.pop("one_way", False), bool)
        named = profile(msgspec.convert(rest.pop("profile"), str)) if "profile" in rest else None
        if named and rest:
            raise LabError(f"both a profile and {sorted(rest)[0]}", next_step="give one of them")
        wish = named or msgspec.convert(rest, Impairment)
        if wish.is_nothing:
            raise LabError("nothing is wrong with this link", next_step="give a profile, or keys such as loss_percent")
        return Bad(where, place, wish, one_way)
    except msgspec.ValidationError as error:
        keys = ", ".join(field.name for field in msgspec.structs.fields(Impairment))
        raise LabError(
            f"this fault of the net cannot be read: {error}",
            where=where,
            next_step=f"its keys are where, one_way and profile, or {keys}",
        ) from None
    except LabError as error:
        raise LabError(error.what, where=where, next_step=error.next_step) from None
