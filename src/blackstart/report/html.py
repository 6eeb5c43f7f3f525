"""The report as one page for people: a single file that loads nothing, runs nothing, and may be mailed around.

Text from the target is hostile. The template escapes everything, `plain` makes unseen characters visible, and the page
forbids itself scripts and every other resource by its content security policy. What is drawn (timeline, heat map) is
laid out here as shares of the width, so that it fits a phone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

import msgspec

from blackstart.core.frames import shown_frame
from blackstart.core.units import format_duration
from blackstart.report.folding import folded, ordered
from blackstart.report.impact import half
from blackstart.report.model import CoveredPoint, Finding, Impact, Moment, Report, SurfaceFile
from blackstart.report.terminal import ending, headline
from blackstart.report.text import plain, shell_line

FILES_MAX = 60
# A start that took no time at all still has to be seen.
_SHARE_MIN = 0.12
_ROLES = ("state", "output", "config", "lock", "cache", "scratch", "log")


class Cell(msgspec.Struct, kw_only=True):
    """Trials of one kind on one file or call. state: failed, passed, unknown, or unfired; found: ids of findings."""

    passed: int = 0
    failed: int = 0
    unknown: int = 0
    not_fired: int = 0
    found: tuple[str, ...] = ()

    def add(self, point: CoveredPoint) -> None:
        """Count the point in."""
        self.passed += point.passed
        self.failed += point.failed
        self.unknown += point.unknown
        self.not_fired += point.not_fired
        self.found += point.found

    @property
    def total(self) -> int:
        """All trials."""
        return self.passed + self.failed + self.unknown + self.not_fired

    @property
    def state(self) -> str:
        """The worst that was seen."""
        return "failed" if self.failed else "passed" if self.passed else "unknown" if self.unknown else "unfired"

    @property
    def text(self) -> str:
        """In figures, with a sign that needs no colour."""
        if self.failed:
            return f"✗ {self.failed}/{self.total}"
        return {"passed": f"✓ {self.passed}", "unknown": f"? {self.unknown}", "unfired": "–"}[self.state]

    @property
    def said(self) -> str:
        """In words."""
        counts = (("passed", self.passed), ("failed", self.failed), ("unknown", self.unknown))
        words = [f"{count} {word}" for word, count in (*counts, ("not fired", self.not_fired)) if count]
        return ", ".join(words)


class Row(msgspec.Struct, kw_only=True):
    """One file of the heat map, or one call on it."""

    name: str
    role: str = ""
    cells: dict[str, Cell] = {}
    calls: dict[str, Row] = {}

    def add(self, point: CoveredPoint) -> None:
        """Count the point in."""
        self.cells.setdefault(point.kind, Cell()).add(point)


def render(report: Report) -> bytes:
    """The report as HTML, UTF-8."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["frame"] = shown_frame
    style = _resource("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = environment.get_template("page.html").render(
        report=report, style=_safe(style), style_hash=digest, **_parts(report)
    )
    return text.encode("utf-8", "backslashreplace")


def _parts(report: Report) -> dict[str, Any]:
    """What the template shows and the report does not hold as such."""
    findings = ordered(report.findings)
    rows, kinds, more = heat_map(report.coverage)
    change = report.change
    return {
        "title": headline(report),
        "tone": tone(report),
        "status": ending(report),
        "command": shell_line(report.command),
        "took": format_duration(round(report.elapsed_s, 1)),
        "defects": folded(one for one in findings if one.counts),
        "known": [one for one in findings if one.known],
        "others": [one for one in findings if not one.counts and not one.known],
        "rows": rows,
        "kinds": kinds,
        "rows_left_out": more,
        "lanes": {finding.id: lanes(finding) for finding in findings},
        "by_role": _by_role(report.surface.files),
        "fixed": [one for one in change.gone if one.tried] if change else [],
        "unseen": [one for one in change.gone if not one.tried] if change else [],
        "curves": {one.kind: curves(one) for one in report.impact},
        "settings": [(name, _setting(value)) for name, value in report.options.items() if value],
        "home_of": lambda found: next((finding.id for finding in findings if finding.id in found), ""),
        "has_story": any(finding.timeline for finding in findings),
    }


def tone(report: Report) -> str:
    """bad, good or unsure: the colour of the verdict."""
    if any(finding.counts for finding in report.findings):
        return "bad"
    return "good" if report.exit_status == 0 and report.mode == "run" else "unsure"


def heat_map(points: Iterable[CoveredPoint]) -> tuple[list[Row], list[str], int]:
    """Rows by file, with rows by call below; the kinds; how many files were left out. Failing files come first."""
    rows: dict[str, Row] = {}
    kinds = []
    for point in points:
        kinds.append(point.kind)
        row = rows.setdefault(point.path, Row(name=point.path, role=point.role, cells={}, calls={}))
        row.add(point)
        if point.call:
            row.calls.setdefault(point.call, Row(name=point.call, cells={}, calls={})).add(point)
    ranked = sorted(rows.values(), key=lambda row: (not _failed(row), -sum(c.total for c in row.cells.values())))
    return ranked[:FILES_MAX], list(dict.fromkeys(kinds)), max(0, len(ranked) - FILES_MAX)


def lanes(finding: Finding) -> list[dict[str, Any]]:
    """The starts of a trial as stretches: share of the width, marks as per cent of the stretch, shaded parts."""
    runs = list(dict.fromkeys(moment.run for moment in finding.timeline))
    stretches = [[moment for moment in finding.timeline if moment.run == run] for run in runs]
    lengths = [stretch[-1].at_s - stretch[0].at_s for stretch in stretches]
    total = sum(lengths) or 1.0
    return [
        {
            "run": run,
            "share": round(max(length / total, _SHARE_MIN), 4),
            "took": format_duration(round(length, 3)) if length else "no time",
            "marks": [(one.mark, _at(one, stretch[0], length), one.text) for one in stretch if one.mark != "start"],
            "shades": list(_shades(stretch, length)),
            "end": stretch[-1].text,
        }
        for run, stretch, length in zip(runs, stretches, lengths, strict=True)
    ]


def curves(impact: Impact) -> list[dict[str, Any]]:
    """Time to recover as steps, (left, width, height) in per cent: across the seconds, upwards the share well again."""
    drawn = []
    for known in impact.recoveries:
        longest = 1.05 * known.watched_s or 1.0  # a little longer, or nobody would see the last step
        ends = [*(at_s for at_s, _ in known.curve[1:]), longest]
        steps = [
            (round(100 * at_s / longest, 2), round(100 * (end_s - at_s) / longest, 2), round(100 - 100 * not_yet, 2))
            for (at_s, not_yet), end_s in zip(known.curve, ends, strict=False)
        ]
        longest_text = format_duration(round(longest, 3))
        drawn.append({"known": known, "steps": steps, "longest": longest_text, "half": half(known)})
    return drawn


def _shades(stretch: Sequence[Moment], length: float) -> Iterable[tuple[float, float]]:
    """(from, width) in per cent, from each injection to its healing."""
    for moment in stretch:
        if moment.mark == "inject":
            healed = next((one for one in stretch if one.mark == "heal" and one.text == moment.text), stretch[-1])
            begin, end = _at(moment, stretch[0], length), _at(healed, stretch[0], length)
            yield begin, max(round(end - begin, 2), 1.0)


def _at(moment: Moment, first: Moment, length: float) -> float:
    if not length:
        return 50.0 if moment.mark == "inject" else 100.0
    return round(100 * (moment.at_s - first.at_s) / length, 2)


def _failed(row: Row) -> int:
    return sum(cell.failed for cell in row.cells.values())


def _by_role(files: Iterable[SurfaceFile]) -> list[tuple[str, list[SurfaceFile]]]:
    found: dict[str, list[SurfaceFile]] = {}
    for file in files:
        found.setdefault(file.role, []).append(file)
    known = [role for role in _ROLES if role in found]
    return [(role, found[role]) for role in [*known, *sorted(set(found) - set(known) - {"install"})]]


def _setting(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _resource(name: str) -> str:
    return resources.files("blackstart.report").joinpath("page", name).read_text(encoding="utf-8")


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # our own style sheet, nothing else


def _shown(value: Any) -> Any:
    """What is put into the page: hostile text made visible; markup of our own as it is."""
    return plain(value, 20_000) if type(value) is str else value
