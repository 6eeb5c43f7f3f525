"""Files that people write in TOML, read as values, with errors that name the file and the key."""

from __future__ import annotations

import tomllib
from typing import TypeVar

import msgspec

from blackstart.core.errors import BlackstartError

T = TypeVar("T")


def from_toml(text: str, kind: type[T], *, what: str, where: str, next_step: str) -> T:
    """The text as a value of this type; raises BlackstartError. what: such as "this baseline"; where: the file."""
    try:
        return msgspec.convert(tomllib.loads(text), kind)
    except tomllib.TOMLDecodeError as error:
        raise BlackstartError(f"this is not TOML: {error}", where=where, next_step="correct that line") from None
    except msgspec.ValidationError as error:
        told = str(error).replace("$.", "")
        raise BlackstartError(f"{what} has a mistake: {told}", where=where, next_step=next_step) from None
