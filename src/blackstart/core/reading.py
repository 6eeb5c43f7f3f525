"""What a probe saw, as a value; a failure to ask is a reading too."""

from __future__ import annotations

import msgspec

Leaves = tuple[tuple[str, str], ...]


class Content(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The logical content of one file.

    form: json, toml, ini, yaml, csv, xml, sqlite, text or bytes; `""` when it was too large to parse.
    leaves: sorted (place, value) pairs, e.g. `("/notes/0/title", '"x"')`, a table cell `("notes/3/title", ...)`,
    a text line `("7", "...")`; digest: of the raw bytes (for sqlite: of the dump), so equal digests mean equal content;
    count: how many leaves there were, also when more than the limit were found and `leaves` is empty;
    error: why it could not be read as `form` (then form is the form that its name or clean versions suggest, and the
    leaves are the bytes).
    """

    form: str = "bytes"
    leaves: Leaves = ()
    digest: str = ""
    count: int = 0
    error: str = ""


class FileState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One directory entry: kind is file, directory, link, socket, fifo or other; size in bytes; mode: its bits."""

    path: str
    kind: str = "file"
    size: int = 0
    mode: int = 0
    links: int = 1
    target: str = ""
    digest: str = ""
    content: Content | None = None


# What stood in the state directories at one moment, by path as the target sees it.
Image = dict[str, FileState]


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a question: name of the probe, when it was asked, the value, or the error."""

    name: str
    when: str = ""
    value: str = ""
    error: str = ""
    at_s: float = 0.0
