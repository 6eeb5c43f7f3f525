"""What a baseline file says of a run's findings: known ones no longer count, vanished ones can leave it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.findings.baseline import Known, expired, parse
from blackstart.report.change import places_tried
from blackstart.report.model import BaselineUse, Finding, Gone, Report
from blackstart.report.points import Place, place_of


def read(path: str) -> dict[str, Known]:
    """The entries of a baseline file, by fingerprint."""
    try:
        with open(path, encoding="utf-8") as file:
            return parse(file.read(), path)
    except OSError as error:
        raise BlackstartError(
            f"the baseline cannot be read: {error.strerror}",
            where=path,
            next_step="write one from a run: blackstart baseline FILE --reason TEXT",
        ) from None
    except UnicodeDecodeError:
        raise BlackstartError("the baseline is not UTF-8", where=path, next_step="save it as UTF-8") from None


def marked(findings: Iterable[Finding], entries: dict[str, Known], today: dt.date) -> tuple[Finding, ...]:
    """The findings, those that the file accepts marked as known."""
    over = expired(entries, today)
    return tuple(
        msgspec.structs.replace(one, known=entries[one.fingerprint].in_words())
        if one.label == "defect" and one.fingerprint in entries and one.fingerprint not in over
        else one
        for one in findings
    )


def use_of(report: Report, file: str, entries: dict[str, Known], today: dt.date) -> BaselineUse:
    """Which entries were used, have expired, or can go: their place was tried again, and nothing was found."""
    over, tried = expired(entries, today), places_tried(report)
    found = {finding.fingerprint: finding.id for finding in report.findings}
    return BaselineUse(
        file=file,
        known=tuple(finding.id for finding in report.findings if finding.known),
        expired=tuple(name for mark, name in found.items() if mark in over),
        fixed=tuple(
            Gone(id=known.finding, fingerprint=mark, what=known.what)
            for mark, known in entries.items()
            if mark not in found and Place(kind=known.kind, call=known.call, path=known.path) in tried
        ),
    )


def entry_for(finding: Finding, reason: str, owner: str, expires: dt.date | None) -> Known:
    """The entry that accepts this finding."""
    place = place_of(finding.plan)
    return Known(
        fingerprint=finding.fingerprint,
        reason=reason,
        owner=owner,
        expires=expires,
        finding=finding.id,
        what=f"{finding.consequence} by {finding.fault}",
        kind=place.kind,
        call=place.call,
        path=place.path,
    )
