"""Where a symbol of a program or library is: as much of ELF as is needed to find one name.

The files belong to the target, which may have made them up: every size is bounded, every fault gives "not found".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection

_TABLE_MAX = 64 << 20
_SECTIONS_MAX = 4096
_DYNAMIC_SYMBOLS, _ALL_SYMBOLS = 11, 2
_SYMBOL = struct.Struct("<IBBHQQ")
_EXECUTABLE = 2


class Symbols:
    """Addresses of some symbols of one file; is_fixed: they are not relative to where the file is loaded."""

    __slots__ = ("addresses", "is_fixed")

    def __init__(self, addresses: dict[bytes, int], is_fixed: bool) -> None:
        self.addresses = addresses
        self.is_fixed = is_fixed


def symbols(path: str, names: Collection[bytes]) -> Symbols:
    """Those of `names` that this 64-bit little-endian ELF file defines, from .dynsym, else .symtab."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return Symbols({}, False)
    try:
        return _symbols(descriptor, names)
    except (OSError, struct.error, OverflowError, IndexError):
        return Symbols({}, False)
    finally:
        os.close(descriptor)


def _symbols(descriptor: int, names: Collection[bytes]) -> Symbols:
    header = os.pread(descriptor, 64, 0)
    if header[:6] != b"\x7fELF\x02\x01":
        return Symbols({}, False)
    kind, = struct.unpack_from("<H", header, 16)
    start, = struct.unpack_from("<Q", header, 40)
    size, count = struct.unpack_from("<HH", header, 58)
    if size != 64 or count > _SECTIONS_MAX:
        return Symbols({}, False)
    raw = os.pread(descriptor, size * count, start)
    sections = list(struct.iter_unpack("<IIQQQQIIQQ", raw))
    for wanted in (_DYNAMIC_SYMBOLS, _ALL_SYMBOLS):
        found: dict[bytes, int] = {}
        for section in sections:
            if section[1] == wanted and section[5] <= _TABLE_MAX and sections[section[6]][5] <= _TABLE_MAX:
                texts = sections[section[6]]
                found |= _search(
                    os.pread(descriptor, section[5], section[4]), os.pread(descriptor, texts[5], texts[4]), names
                )
        if found:
            return Symbols(found, kind == _EXECUTABLE)
    return Symbols({}, False)


def _search(table: bytes, texts: bytes, names: Collection[bytes]) -> dict[bytes, int]:
    """The names among these symbols. The few that are wanted are searched in the texts first: it is much faster."""
    places = {}
    for name in names:
        at = texts.find(b"\0" + name + b"\0")
        if at >= 0:
            places[at + 1] = name
    found = {}
    for offset, _, _, section, value, _ in _SYMBOL.iter_unpack(table[: len(table) - len(table) % _SYMBOL.size]):
        if offset in places and section:
            found[places[offset]] = value
    return found
