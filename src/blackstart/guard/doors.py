"""The doors of a run: by which ways a program could reach the world, and what becomes of each.

A door is contained (it leads to something that belongs to the sandbox), refused, or opened by name. The first lines
of a run list them, so that nobody has to guess what a program under test could move.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Protocol

import msgspec

from blackstart.core.errors import BlackstartError

CONTAINED, REFUSED, OPENED = "contained", "refused", "opened"
PEER = "peer"
KINDS = ("socket", "device", PEER)


class Door(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way out. kind: files, devices, network ...; address: which of them ("" for all); state; why: one sentence."""

    kind: str
    state: str
    address: str = ""
    why: str = ""


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """A door opened by name: kind is socket or device, and address a path of the host; or peer, and HOST:PORT."""

    kind: str
    address: str


class World(Protocol):
    """What is asked of a layout."""

    @property
    def copies(self) -> tuple[str, ...]: ...
    @property
    def made(self) -> tuple[str, ...]: ...
    @property
    def overlays(self) -> tuple[str, ...]: ...


def parse_allowed(text: str) -> Allowed:
    """Read one value of `--allow`; says what is wrong with it."""
    kind, colon, address = text.partition(":")
    if kind not in KINDS or not colon or not address:
        raise BlackstartError(
            f"{text!r} names no door",
            where="--allow",
            next_step="write it as socket:PATH or device:PATH, with the path in full, or as peer:HOST:PORT",
        )
    if kind == PEER:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise BlackstartError(
                f"{text!r} names no peer", where="--allow", next_step="write it as peer:HOST:PORT, such as peer:db:5432"
            )
        return Allowed(kind=kind, address=address)
    if not os.path.isabs(address):
        raise BlackstartError(
            f"{address!r} is no full path", where=f"--allow {text}", next_step="give the path from / on"
        )
    if not os.path.exists(address):
        raise BlackstartError(f"there is no {address}", where=f"--allow {text}", next_step="look at the spelling")
    return Allowed(kind=kind, address=os.path.realpath(address))


def opened_paths(allowed: Iterable[Allowed]) -> tuple[str, ...]:
    """The sockets and devices among them."""
    return tuple(one.address for one in allowed if one.kind != PEER)


def doors(layout: World, isolation: str, allowed: Iterable[Allowed] = ()) -> list[Door]:
    """All doors of a run in this layout, under this isolation, the opened ones last."""
    listed = _in_namespaces(layout) if isolation == "namespaces" else _under_landlock(layout)
    opened = [Door(kind=a.kind, address=a.address, state=OPENED, why="by --allow") for a in allowed]
    return listed + opened


def _in_namespaces(layout: World) -> list[Door]:
    state = ", ".join((*layout.copies, *layout.made))
    rows = [
        *([("files", CONTAINED, state, "state: a private copy in memory")] if state else []),
        ("other files" if state else "files", CONTAINED, "", "changes stay in the sandbox"),
        ("devices", REFUSED, "", "only null, zero, full, random, urandom, tty and its own terminals are there"),
        ("unix sockets", CONTAINED, "", "sockets of the host cannot be reached, by path or by abstract name"),
        ("network", CONTAINED, "", "an interface of its own: only itself can be reached"),
        ("processes", CONTAINED, "", "only its own processes exist"),
        ("shared memory and queues", CONTAINED, "", "its own, System V and POSIX"),
        ("keyrings", CONTAINED, "", "its own"),
        ("mounts", REFUSED, "", "nor namespaces inside its own"),
        ("clock", REFUSED, "", "the machine's clock can be read only"),
        ("kernel settings", REFUSED, "", "/proc and /sys can be read only"),
    ]
    return [Door(kind=kind, state=state, address=address, why=why) for kind, state, address, why in rows]


def _under_landlock(layout: World) -> list[Door]:
    state = ", ".join(layout.copies)
    rows = [
        ("files", CONTAINED, state, "state and working directory: a copy elsewhere, paths in arguments rewritten"),
        ("files", REFUSED, "", "all others can be read only; modes, owners, times and attributes cannot be changed"),
        ("devices", REFUSED, "", "only null, zero, full, random and urandom can be opened for writing"),
        ("unix sockets", REFUSED, "", "no socket can be connected"),
        ("network", REFUSED, "", "no socket of the internet can be made"),
        ("processes", REFUSED, "", "others can be seen, but neither signalled nor traced"),
        ("shared memory and queues", REFUSED, "", "System V and POSIX"),
        ("keyrings", REFUSED, "", ""),
        ("mounts", REFUSED, "", ""),
        ("clock", REFUSED, "", "the machine's clock can be read only"),
        ("kernel settings", REFUSED, "", "/proc and /sys can be read only"),
        ("readable files", OPENED, "", "can be locked while a trial runs, and a named pipe can be emptied"),
    ]
    return [Door(kind=kind, state=state, address=address, why=why) for kind, state, address, why in rows]
