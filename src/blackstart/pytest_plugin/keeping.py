"""What the tests of scenarios found goes into the store, so that reports know which scenario has a test.

The store is `.blackstart/` below pytest's root directory, where `blackstart run` of the same project keeps its runs.
A session in which no test names a scenario does not touch it; one that cannot write it says so and goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from blackstart.pytest_plugin import discovery

if TYPE_CHECKING:
    from blackstart.store import KeptTest

_COLLECTED = pytest.StashKey[set[str]]()


def add_option(parser: pytest.Parser) -> None:
    """`--blackstart-no-store`."""
    parser.getgroup("blackstart").addoption(
        "--blackstart-no-store", action="store_true", help="do not keep what resilience tests found in .blackstart/"
    )


def collected(item: pytest.Item) -> None:
    """Note that this test is there, whether it is then run or not."""
    item.config.stash.setdefault(_COLLECTED, set()).add(item.nodeid)


def keep(reporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Keep what was found, instead of what the same tests found before; forget tests that are gone."""
    if config.getoption("--blackstart-no-store"):
        return
    found = _found(reporter)
    if not found:
        return
    from blackstart.core.errors import BlackstartError
    from blackstart.store import Store

    root = config.rootpath
    try:
        with Store(str(root)) as store:
            store.keep_tests(found)
            store.forget_tests(one.test for one in store.tests() if _is_gone(one.test, root, config))
    except BlackstartError as error:
        reporter.write_line(f"not kept: {error.what} ({error.where})")


def _found(reporter: pytest.TerminalReporter) -> list[KeptTest]:
    from blackstart.store import KeptTest

    return [
        KeptTest(scenario=scenario, test=report.nodeid, outcome=outcome, reason=_reason(report))
        for outcome, report, scenario in discovery.outcomes(reporter)
        if scenario
    ]


def _reason(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return _printable(str(report.wasxfail).removeprefix("reason: "))
    if report.passed:
        return ""
    # longreprtext would begin with the worker of a distributed session.
    return _printable(discovery.first_line(_last_error(str(report.longrepr))))


def _last_error(text: str) -> str:
    """What the last exception says, all its lines; without a traceback (--tb=line, a fault in a fixture) the text."""
    error: list[str] = []
    is_inside = False
    for line in text.splitlines():
        is_marked = line.startswith("E ")
        if is_marked and not is_inside:
            error.clear()
        if is_marked:
            error.append(line[2:].strip())
        is_inside = is_marked
    return "\n".join(error) or text


def _printable(text: str) -> str:
    """The bytes of a file name that are no UTF-8 cannot be kept as they are."""
    return text.encode("utf-8", "backslashreplace").decode()


def _is_gone(test: str, root: Path, config: pytest.Config) -> bool:
    """Whether its file is gone, or was collected as a whole without it: renamed, or with another parameter.

    In a distributed session the workers collect, and nothing is known of that here.
    """
    file = test.partition("::")[0]
    if not (root / file).exists():
        return True
    there = config.stash.get(_COLLECTED, set())
    is_whole = not any("::" in word for word in config.args) and any(one.partition("::")[0] == file for one in there)
    return is_whole and test not in there
