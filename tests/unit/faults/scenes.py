"""A scene without a sandbox: what a fault asks of the disk is only noted."""

from __future__ import annotations

from typing import Any, cast

from blackstart.core.history import EXITED, End, Peer
from blackstart.core.trace import Operation
from blackstart.faults.scene import Scene
from blackstart.gate import Firing, WallClock
from blackstart.sandbox import Zygote
from blackstart.targets import Conducted


class Disk:
    """Stands for a zygote; `rooms` is what was asked of it, in order."""

    def __init__(self, isolation: str = "namespaces") -> None:
        self.isolation = isolation
        self.rooms: list[dict[str, Any]] = []

    def set_room(self, image: str, **room: int) -> None:
        self.rooms.append(room)


class Caller:
    """Stands for a waiting call."""

    def __init__(self, process: int = 1, short: bool = True) -> None:
        self.process, self.short, self.descriptor = process, short, -1

    def is_short(self, of: str) -> bool:
        return self.short


def scene(disk: Disk | None = None) -> Scene:
    return Scene(zygote=cast(Zygote, disk or Disk()), image="image", start="S0", real=str)


def conducted(
    *firings: tuple[int, str],
    delivered: bool = True,
    hits: tuple[int, ...] = (),
    wall: WallClock | None = None,
    peers: tuple[Peer, ...] = (),
) -> Conducted:
    """What a start gave whose gate did this: (index of the tamper, note) each."""
    return Conducted(
        end=End(how=EXITED),
        outputs=(),
        hits=hits,
        wall=wall,
        peers=peers,
        firings=tuple(
            Firing(
                tamper_index=index,
                operation=Operation(index=0, call="write", masked="$CWD/notes.json"),
                verb="act",
                matched=True,
                delivered=delivered,
                note=note,
            )
            for index, note in firings
        ),
    )
