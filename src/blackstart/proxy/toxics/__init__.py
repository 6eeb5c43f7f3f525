"""The table of toxics: one file each. Others join by the entry point group `blackstart.toxics`.

A toxic is deleted by deleting its file, its test and its row here.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

import msgspec

from blackstart.proxy.toxics.accept_close import AcceptClose
from blackstart.proxy.toxics.bandwidth import Bandwidth
from blackstart.proxy.toxics.blackhole import Blackhole
from blackstart.proxy.toxics.corrupt import Corrupt
from blackstart.proxy.toxics.down import Down
from blackstart.proxy.toxics.duplicate import Duplicate
from blackstart.proxy.toxics.half_open import HalfOpen
from blackstart.proxy.toxics.http import Http
from blackstart.proxy.toxics.latency import Latency
from blackstart.proxy.toxics.limit_data import LimitData
from blackstart.proxy.toxics.modbus import Modbus
from blackstart.proxy.toxics.mqtt import Mqtt
from blackstart.proxy.toxics.noop import Noop
from blackstart.proxy.toxics.packet_loss import PacketLoss
from blackstart.proxy.toxics.reorder import Reorder
from blackstart.proxy.toxics.reset_peer import ResetPeer
from blackstart.proxy.toxics.slicer import Slicer
from blackstart.proxy.toxics.slow_accept import SlowAccept
from blackstart.proxy.toxics.slow_close import SlowClose
from blackstart.proxy.toxics.timeout import Timeout

TOXICS: tuple[type[msgspec.Struct], ...] = (
    Noop,
    Latency,
    Bandwidth,
    SlowClose,
    Timeout,
    ResetPeer,
    Slicer,
    LimitData,
    PacketLoss,
    Corrupt,
    HalfOpen,
    AcceptClose,
    SlowAccept,
    Down,
    Blackhole,
    Duplicate,
    Reorder,
    Http,
    Modbus,
    Mqtt,
)


@cache
def known() -> dict[str, type[msgspec.Struct]]:
    """Every toxic by its type: ours, and those of installed packages (which may not take one of our names)."""
    ours = {str(getattr(one, "type")): one for one in TOXICS}  # noqa: B009
    others = {entry.name: entry.load() for entry in entry_points(group="blackstart.toxics") if entry.name not in ours}
    return ours | others
