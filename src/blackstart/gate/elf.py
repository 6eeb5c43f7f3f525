"""Names in programs and libraries: as much of ELF as is needed to find a symbol, or the function at an address.

The files belong to the target, which may have made them up: every size is bounded, every fault gives "not found".
"""

from __future__ import annotations

import bisect
import os
import struct
from collections.abc import Collection

_TABLE_MAX = 64 << 20
_SECTIONS_MAX = 4096
_DYNAMIC_SYMBOLS, _ALL_SYMBOLS = 11, 2
_SYMBOL = struct.Struct("<IBBHQQ")
_EXECUTABLE, _FUNCTION = 2, 2
_FUNCTIONS_MAX = 8 << 20
_NAME_MAX = 256


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
    sections, kind = _sections(descriptor)
    for wanted in (_DYNAMIC_SYMBOLS, _ALL_SYMBOLS):
        found: dict[bytes, int] = {}
        for section in sections:
            if section[1] == wanted:
                found |= _search(*_tables(descriptor, sections, section), names)
        if found:
            return Symbols(found, kind == _EXECUTABLE)
    return Symbols({}, False)


def _sections(descriptor: int) -> tuple[list[tuple[int, ...]], int]:
    """(the section headers, the kind of file); none if it is no such file."""
    header = os.pread(descriptor, 64, 0)
    if header[:6] != b"\x7fELF\x02\x01":
        return [], 0
    (kind,) = struct.unpack_from("<H", header, 16)
    (start,) = struct.unpack_from("<Q", header, 40)
    size, count = struct.unpack_from("<HH", header, 58)
    if size != 64 or count > _SECTIONS_MAX:
        return [], 0
    raw = os.pread(descriptor, size * count, start)
    return list(struct.iter_unpack("<IIQQQQIIQQ", raw)), kind


def _tables(descriptor: int, sections: list[tuple[int, ...]], section: tuple[int, ...]) -> tuple[bytes, bytes]:
    """(the symbols, their texts) of a section; empty where they are larger than is worth reading."""
    texts = sections[section[6]]
    if section[5] > _TABLE_MAX or texts[5] > _TABLE_MAX:
        return b"", b""
    return os.pread(descriptor, section[5], section[4]), os.pread(descriptor, texts[5], texts[4])


def _search(table: bytes, texts: bytes, names: Collection[bytes]) -> dict[bytes, int]:
    """The names among these symbols. The few that are wanted are searched in the texts first: it is much faster."""
    places = {}
    for name in names:
        # A name may be the end of a longer one, whose text it shares.
        at = texts.find(name + b"\0")
        while at >= 0:
            places[at] = name
            at = texts.find(name + b"\0", at + 1)
    found = {}
    for offset, _, _, section, value, _ in _SYMBOL.iter_unpack(table[: len(table) - len(table) % _SYMBOL.size]):
        if offset in places and section:
            found[places[offset]] = value
    return found


class Functions:
    """The functions of one file by their addresses; is_fixed: these are not relative to where the file is loaded."""

    __slots__ = ("starts", "ends", "names", "is_fixed")

    def __init__(self, found: dict[int, tuple[int, str]], is_fixed: bool) -> None:
        self.starts = sorted(found)
        self.ends = [start + max(found[start][0], 1) for start in self.starts]
        self.names = [found[start][1] for start in self.starts]
        self.is_fixed = is_fixed

    def at(self, address: int) -> str:
        """The function that holds this address, "" if none does."""
        place = bisect.bisect_right(self.starts, address) - 1
        return self.names[place] if place >= 0 and address <= self.ends[place] else ""


def functions(path: str) -> Functions:
    """All functions that a 64-bit little-endian ELF file names; none if it is stripped, or larger than is worth it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return Functions({}, False)
    try:
        sections, kind = _sections(descriptor)
        found: dict[int, tuple[int, str]] = {}
        for section in sections:
            if section[1] in (_DYNAMIC_SYMBOLS, _ALL_SYMBOLS) and section[5] <= _FUNCTIONS_MAX:
                table, texts = _tables(descriptor, sections, section)
                found |= _functions(table, texts)
        return Functions(found, kind == _EXECUTABLE)
    except (OSError, struct.error, OverflowError, IndexError):
        return Functions({}, False)
    finally:
        os.close(descriptor)


def _functions(table: bytes, texts: bytes) -> dict[int, tuple[int, str]]:
    found = {}
    for offset, what, _, section, value, size in _SYMBOL.iter_unpack(table[: len(table) - len(table) % _SYMBOL.size]):
        if what & 15 == _FUNCTION and section:
            name = texts[offset : texts.find(b"\0", offset)][:_NAME_MAX]
            found[value] = size, name.decode("utf-8", "replace")
    return found
