"""What is in a file, as leaves that can be compared: a value, whatever the file's state.

The form is found by looking (an SQLite header, text that parses as JSON), helped by the name: a `.json` that does not
parse is a broken JSON file and not a text. Whatever is too large, too deep or too slow to read still has a digest.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping

from blackstart.core.reading import Content
from blackstart.probes.leaves import limited
from blackstart.probes.sqlite import HEADER, sqlite_leaves
from blackstart.probes.structured import PARSERS, Unreadable

PARSED_BYTES = 8 << 20
SQLITE_BYTES = 64 << 20
BLOCK_BYTES = 4096
ROWS_BYTES, ROW_BYTES = 16384, 16

_BY_SUFFIX = {
    ".json": "json", ".geojson": "json", ".webmanifest": "json", ".toml": "toml", ".ini": "ini", ".csv": "csv",
    ".tsv": "csv", ".xml": "xml", ".svg": "xml", ".yaml": "yaml", ".yml": "yaml",
    ".sqlite": "sqlite", ".sqlite3": "sqlite", ".db3": "sqlite",
}  # fmt: skip
# Lines, whatever a single one of them may look like.
_LINES = (".jsonl", ".ndjson", ".log", ".txt")
_MAYBE_INI = (".cfg", ".conf", ".config", ".properties", "")
_SECTION = re.compile(r"^\s*\[[^\]\n]+\]\s*$", re.MULTILINE)


def form_of(path: str, data: bytes) -> str:
    """The form that header, name and first look suggest."""
    if data.startswith(HEADER):
        return "sqlite"
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _BY_SUFFIX and (_BY_SUFFIX[suffix] in PARSERS or _BY_SUFFIX[suffix] == "sqlite"):
        return _BY_SUFFIX[suffix]
    text = _text(data)
    if text is None:
        return "bytes"
    if suffix not in _LINES and text.lstrip()[:1] in ("{", "[") and _parses("json", text):
        return "json"
    if suffix in _MAYBE_INI and _SECTION.search(text) and _parses("ini", text):
        return "ini"
    return "text"


def read(data: bytes, path: str, companions: Mapping[str, bytes] | None = None) -> Content:
    """The content of a file; companions: `-wal`, `-journal` … of a database by their suffix."""
    digest = hashlib.sha256(data).hexdigest()[:32]
    form = form_of(path, data)
    if len(data) > (SQLITE_BYTES if form == "sqlite" else PARSED_BYTES):
        return Content(form="", digest=digest)
    if form == "sqlite" and not data and not companions:
        return Content(form="sqlite", digest=digest)  # an empty file is an empty database
    try:
        leaves, count = limited(_leaves(form, data, companions or {}))
    except Unreadable as error:
        leaves, count = limited(_blocks(data))
        return Content(form=form, leaves=leaves, digest=digest, count=count, error=str(error))
    except TimeoutError:
        return Content(form="", digest=digest)
    if form == "sqlite":
        digest = _digest_of(leaves) if leaves else digest  # pages may differ where the content does not
    return Content(form=form, leaves=leaves, digest=digest, count=count)


def _leaves(form: str, data: bytes, companions: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    if form == "sqlite":
        return sqlite_leaves(data, companions)
    if form == "bytes":
        return _blocks(data)
    text = _text(data)
    if text is None:
        raise Unreadable("it is not text")
    if form in PARSERS:
        return PARSERS[form](text)
    return ((str(number), line) for number, line in enumerate(text.splitlines(), 1))


def _blocks(data: bytes) -> Iterator[tuple[str, str]]:
    """Rows of a small file in hexadecimal, so that a torn one shows; digests of blocks of a larger one."""
    if len(data) <= ROWS_BYTES:
        for at in range(0, len(data), ROW_BYTES):
            yield f"@{at:x}", data[at : at + ROW_BYTES].hex()
        return
    for at in range(0, len(data), BLOCK_BYTES):
        yield f"@{at:x}", hashlib.sha256(data[at : at + BLOCK_BYTES]).hexdigest()[:16]


def _digest_of(leaves: tuple[tuple[str, str], ...]) -> str:
    hasher = hashlib.sha256()
    for place, value in leaves:
        hasher.update(f"{len(place)}:{place}{len(value)}:{value}".encode("utf-8", "backslashreplace"))
    return hasher.hexdigest()[:32]


def _text(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _parses(form: str, text: str) -> bool:
    try:
        PARSERS[form](text)
    except Unreadable:
        return False
    return True
