"""Markdown for a comment under a pull request: the verdict first, each finding folded away, commands to be copied.

Text from the target cannot break out: outside code it is escaped sign by sign, inside code the fence is longer than any
run of backquotes in it, and nothing in it mentions people or issues.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from blackstart.core.units import format_duration
from blackstart.report.folding import Fold, folded, ordered
from blackstart.report.model import Report
from blackstart.report.terminal import headline
from blackstart.report.text import plain, shell_line

SHOWN_MAX = 20
_SIGN = {"critical": "🔴", "major": "🟠", "minor": "🟡", "low": "⚪"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")
# A zero-width space after these keeps a code host from calling somebody, or linking an issue.
_CALLING = re.compile(r"([@#](?=\w)|:(?=//))")


def render(report: Report) -> bytes:
    """The report as Markdown, UTF-8."""
    return ("\n".join(_lines(report)).rstrip() + "\n").encode("utf-8", "backslashreplace")


def _lines(report: Report) -> Iterator[str]:
    failing = any(finding.counts for finding in report.findings)
    sign = "🔴" if failing else "⚪" if report.exit_status else "🟢"
    yield f"### {sign} blackstart: {_escaped(headline(report))}"
    yield ""
    yield _code(shell_line(report.command))
    yield ""
    yield from _changes(report)
    shown = ordered(report.findings)
    stories = folded(one for one in shown if one.counts)
    for fold in stories[:SHOWN_MAX]:
        yield from _story(fold)
    rest = [one for one in shown if not one.counts]
    rest += [one for fold in stories[SHOWN_MAX:] for one in (fold.first, *fold.others)]
    if rest:
        yield from ("<details><summary>Known gaps, policies and notes</summary>", "")
        for one in rest:
            why = f" ({_escaped(one.known)})" if one.known else ""
            label = "known gap" if one.known else one.label
            yield f"- {label}: {_escaped(one.consequence)} by {_code(one.fault)}{why}"
        yield from ("", "</details>", "")
    yield from _table(report)


def _changes(report: Report) -> Iterator[str]:
    change = report.change
    if change is None:
        return
    fixed = [one for one in change.gone if one.tried]
    unseen = len(change.gone) - len(fixed)
    parts = [f"{len(change.new)} new", f"{len(change.again)} seen again", f"{len(fixed)} fixed"]
    parts += [f"{unseen} not tried again"] if unseen else []
    yield from (f"Against run {_escaped(change.against)}: {', '.join(parts)}.", "")


def _story(fold: Fold) -> Iterator[str]:
    finding = fold.first
    paths = ", ".join(html.escape(plain(path)) for path in finding.paths[:2])
    title = f"{_SIGN[finding.severity]} <b>{finding.severity}: {html.escape(plain(finding.consequence))}</b> {paths}"
    more = f" (and {len(fold.others)} more here)" if fold.others else ""
    yield from (f"<details><summary>{title.strip()}{more}</summary>", "")
    yield f"- **fault** {_code(finding.fault)}"
    if finding.where:
        yield f"- **where** {_code(finding.where)}"
    for line in finding.evidence:
        yield f"- {_escaped(line)}"
    if finding.advice:
        yield f"- **advice** {_escaped(finding.advice)}"
    for name, text in fold.more_advice:
        yield f"- **advice** for {_code(name)}: {_escaped(text)}"
    if finding.reproduced:
        yield f"- reproduced {_escaped(finding.reproduced)}"
    for one in fold.others:
        yield f"- **also** {_code(one.id)}: {_code(one.fault)}"
    yield from ("", *_block(finding.replay), "", "</details>", "")


def _table(report: Report) -> Iterator[str]:
    trials = report.trials
    if trials.kinds:
        yield from ("| kind | passed | failed | unknown | not fired |", "|---|--:|--:|--:|--:|")
        for kind in trials.kinds:
            yield f"| {_escaped(kind.kind)} | {kind.passed} | {kind.failed} | {kind.unknown} | {kind.not_fired} |"
        yield ""
    for muted in report.muted:
        yield f"- muted: {_escaped(muted.what)}: {_escaped(muted.why)}"
    for cut in trials.cut:
        of_kind = f" {_escaped(cut.kind)}" if cut.kind else ""
        yield f"- not run: {cut.count}{of_kind}: {_escaped(cut.why)}"
    took = format_duration(round(report.elapsed_s, 1))
    yield f"\n<sub>{trials.total} trials in {took}, seed {report.seed}, blackstart {_escaped(report.version)}</sub>"


def _escaped(text: str) -> str:
    return _CALLING.sub("\\1\u200b", _SPECIAL.sub(r"\\\1", html.escape(plain(text), quote=False)))


def _code(text: str) -> str:
    """A span of code whatever it holds."""
    body = plain(text, 10_000)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", body)), default=0))
    pad = " " if body.startswith("`") or body.endswith("`") else ""
    return f"{fence}{pad}{body}{pad}{fence}" if body else ""


def _block(text: str) -> Iterator[str]:
    body = plain(text, 100_000)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    yield from (f"{fence}sh", body, fence)
