"""Nobody listens: connections are refused, those that are open end. With a window, a schedule without a client."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Down(msgspec.Struct, frozen=True):
    """Close the listener while the toxic is active; as `enabled: false`, which Toxiproxy's clients set."""

    type: ClassVar[str] = "down"
    door: ClassVar[str] = "closed"
