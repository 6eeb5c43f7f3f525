"""The baseline file: defects that somebody has decided to live with, each with its reason, its owner and its end.

A known defect is a known gap and fails no run; a new one does; one whose day has come counts again. The file belongs to
people: entries are only added to its end, so that comments and order stay. Pure: text in, text out.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping

import msgspec

from blackstart.core.documents import from_toml
from blackstart.core.errors import BlackstartError

HEADER = """\
# Defects that are known here (see `blackstart baseline`). Each needs a reason; `owner` and `expires` (a day) may be
# left out. Delete an entry once a run says that it can go.
schema = "blackstart-baseline/1"
"""


class Known(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One accepted defect; finding, what: its id and a sentence, for people; kind, call, path: where it was seen."""

    fingerprint: str
    reason: str
    owner: str = ""
    expires: dt.date | None = None
    finding: str = ""
    what: str = ""
    kind: str = ""
    call: str = ""
    path: str = ""

    def has_expired(self, today: dt.date) -> bool:
        """Whether its day has come; on the day itself it still holds."""
        return self.expires is not None and today > self.expires

    def in_words(self) -> str:
        """Why it is accepted, for a report."""
        until = f"until {self.expires.isoformat()}" if self.expires else ""
        who = ", ".join(part for part in (self.owner, until) if part)
        return f"{self.reason} ({who})" if who else self.reason


class _File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    schema: str
    known: list[Known] = []


def parse(text: str, where: str) -> dict[str, Known]:
    """Entries by fingerprint; BlackstartError names the key that is wrong."""
    step = "each [[known]] has a fingerprint and a reason; `blackstart baseline` writes them"
    file = from_toml(text, _File, what="this baseline", where=where, next_step=step)
    if file.schema != "blackstart-baseline/1":
        raise BlackstartError(
            f"this version does not read {file.schema}", where=where, next_step='it reads "blackstart-baseline/1"'
        )
    for known in file.known:
        if not known.reason.strip():
            raise BlackstartError(
                f"{known.finding or known.fingerprint} has no reason", where=where, next_step="say why it is accepted"
            )
    return {known.fingerprint: known for known in file.known}


def expired(entries: Mapping[str, Known], today: dt.date) -> set[str]:
    """Fingerprints of the entries that no longer hold."""
    return {mark for mark, known in entries.items() if known.has_expired(today)}


def added(text: str, new: Iterable[Known], present: Collection[str]) -> str:
    """The file's text with entries for those that it does not have yet."""
    parts = [text.rstrip("\n") if text.strip() else HEADER.rstrip("\n")]
    parts += [_entry(known) for known in new if known.fingerprint not in present]
    return "\n\n".join(parts) + "\n"


def _entry(known: Known) -> str:
    lines = ["[[known]]"]
    for name in known.__struct_fields__:
        value = getattr(known, name)
        if isinstance(value, dt.date):
            lines.append(f"{name} = {value.isoformat()}")
        elif value:
            lines.append(f"{name} = {_quoted(value)}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's, but for DEL, which TOML wants escaped, and lone surrogates."""
    harmless = text.encode("utf-8", "backslashreplace").decode()
    return json.dumps(harmless, ensure_ascii=False).replace("\x7f", "\\u007f")
