"""What happened to each connection: who came, what it was connected to, how much passed, and which toxic hit it."""

from __future__ import annotations

from typing import Any

import msgspec


class Record(msgspec.Struct):
    """One connection. opened_s, closed_s: seconds since 1970; hits: toxic -> how often it acted (0: it was there);
    end: how it ended, "" while it is open."""

    number: int
    client: str
    opened_s: float
    upstream: str = ""
    closed_s: float | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    hits: dict[str, int] = {}
    end: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        return {name: getattr(self, name) for name in self.__struct_fields__}
