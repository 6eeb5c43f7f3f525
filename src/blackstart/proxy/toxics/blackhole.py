"""SYN packets vanish: a connect hangs until its own time-out, as behind a firewall that drops."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Blackhole(msgspec.Struct, frozen=True):
    """New connections are not answered while the toxic is active; those that are open go on. TCP only."""

    type: ClassVar[str] = "blackhole"
    door: ClassVar[str] = "silent"
