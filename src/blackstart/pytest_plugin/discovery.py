"""Discovery: a resilience test documents what the program does today.

A test with the marker says which scenario it is about. If it survives it passes. If it does not:

- `gap="reason"` in the marker makes the failure a known gap: xfail with that reason. Should it pass one day, it fails
  until the reason is taken away, so that no protection goes unnoticed;
- with `--blackstart-discover` every failure of such a test is xfail with what happened as the reason: the first run
  over a program that nobody hardened yet, with nothing edited;
- else it is an ordinary failure.

A mistake of the test itself (a rule that cannot be read, a fault that never fired) is none of the program's gaps and
fails in each case. The session ends with the counts and the list of gaps.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

MARKER = (
    "resilience(scenario=NAME, gap=REASON): a test of what the program does when something fails; "
    "NAME is the scenario's id, REASON says why it is known not to survive"
)
# The key under which a report carries its scenario; reports of workers travel as JSON and keep it.
SCENARIO = "blackstart_scenario"
_REASON_CHARACTERS = 160
_FIXTURES = "blackstart.pytest_plugin."
# pytest's outcomes, later ones counting for more, and what they say of the program.
_WORDS = {"passed": "survived", "xfailed": "gap", "failed": "failed", "error": "failed"}


def add_option(parser: pytest.Parser) -> None:
    """`--blackstart-discover`."""
    parser.getgroup("blackstart").addoption(
        "--blackstart-discover",
        action="store_true",
        help="failures of resilience tests become xfail with what happened as the reason, and are listed at the end",
    )


def judge(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Note the scenario, and make a failure that is a gap an xfail with its reason."""
    mark = item.get_closest_marker("resilience")
    if mark is None or (call.when != "call" and not report.failed):
        return
    report.user_properties.append((SCENARIO, str(mark.kwargs.get("scenario", ""))))
    if call.when != "call":  # a fixture failed: whether the program survives was not seen
        return
    if fault := _fault_of(mark):
        # Said in the report: an exception in a hook would end the whole session.
        report.outcome, report.longrepr = "failed", fault
        return
    gap = str(mark.kwargs.get("gap", ""))
    if report.passed and gap:
        report.outcome = "failed"
        report.longrepr = f"[resilience] survives what was a gap ({gap}): take gap= out of the marker"
    elif report.failed and (gap or item.config.getoption("--blackstart-discover")) and _is_gap(call):
        report.outcome = "skipped"
        report.wasxfail = f"reason: {gap or _what_happened(call)}"


def _fault_of(mark: pytest.Mark) -> str:
    """What is wrong with the marker's arguments, or nothing."""
    unknown = sorted(set(mark.kwargs) - {"scenario", "gap"})
    if not mark.args and not unknown:
        return ""
    what = f"no argument {unknown[0]!r}" if unknown else "its arguments have names"
    return f"marker resilience: {what}; write resilience(scenario='R-12', gap='...')"


def _is_gap(call: pytest.CallInfo[None]) -> bool:
    """What the program did; not a mistake of the test, nor an interruption."""
    from blackstart.core.errors import BlackstartError

    if call.excinfo is None or not isinstance(call.excinfo.value, Exception | pytest.fail.Exception):
        return False
    # A fixture called with arguments that it has not: nothing of the program runs in the fixtures' own frames.
    raised_in = str(call.excinfo.traceback[-1].frame.f_globals.get("__name__", ""))
    is_misuse = isinstance(call.excinfo.value, TypeError) and raised_in.startswith(_FIXTURES)
    return not is_misuse and not isinstance(call.excinfo.value, BlackstartError)


def _what_happened(call: pytest.CallInfo[None]) -> str:
    assert call.excinfo is not None
    value = call.excinfo.value
    said = str(value)
    text = said if isinstance(value, AssertionError | pytest.fail.Exception) else f"{type(value).__name__}: {said}"
    return first_line(text) or type(value).__name__


def first_line(text: str) -> str:
    """What stands on the first line, cut where it is long."""
    line = (text.strip().splitlines() or [""])[0]
    return line if len(line) <= _REASON_CHARACTERS else line[: _REASON_CHARACTERS - 1] + "…"


def outcomes(reporter: pytest.TerminalReporter) -> Iterator[tuple[str, pytest.TestReport, str]]:
    """(survived, gap or failed; the report that says so; the scenario) of each test that has the marker.

    An error of a fixture counts for more than what the test itself did: a rule that never fired is told in its end.
    """
    judged = {
        (report.nodeid, scenario): (word, report, scenario)
        for outcome, word in _WORDS.items()
        for report in reporter.stats.get(outcome, [])
        for scenario in scenarios_of(report)
    }
    yield from judged.values()


def summarise(reporter: pytest.TerminalReporter) -> None:
    """The counts, and one line for each gap; nothing where no test has the marker."""
    ours = list(outcomes(reporter))
    if not ours:
        return
    survived, gaps, failed = ([one for one in ours if one[0] == word] for word in ("survived", "gap", "failed"))
    from blackstart.core.units import plural

    reporter.section("resilience")
    reporter.write_line(f"{len(survived)} survived, {plural(len(gaps), 'known gap')}, {len(failed)} failed")
    for _, report, scenario in sorted(gaps, key=lambda one: (one[2], one[1].nodeid)):
        reason = report.wasxfail.removeprefix("reason: ")
        reporter.write_line(f"gap  {scenario or '-'}  {report.nodeid}: {reason}")


def scenarios_of(report: object) -> list[str]:
    """The scenario that this report is about; none if its test has no marker."""
    return [str(value) for key, value in getattr(report, "user_properties", ()) if key == SCENARIO]
