"""What all tests share: who may skip, what a test needs, gold files.

- `@pytest.mark.needs("strace", "gcc")` skips a test, with the reason, where a command is missing.
- `gold(text, "name.txt")` compares with tests/gold/name.txt; `--update-gold` writes it.
- Where CI=true a skip that tests/allowed_skips.txt does not list fails the session: a suite that skips quietly
  proves nothing.
- No example of Hypothesis has a deadline: how long one takes says what else the machine does.
"""

from __future__ import annotations

import fnmatch
import os
import platform
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
ALLOWED_SKIPS = TESTS / "allowed_skips.txt"
GOLD = TESTS / "gold"
settings.register_profile("suite", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-gold", action="store_true", help="write the gold files instead of comparing with them")
    parser.addoption("--rounds", type=int, default=1, help="how often each twin runs")
    parser.addoption("--tally", type=Path, help="note what each round of a twin found in this file")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a command that is not installed."""
    missing = [tool for mark in item.iter_markers("needs") for tool in mark.args if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (not installed)")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often each twin runs: `--rounds`."""
    return int(request.config.getoption("--rounds"))


@pytest.fixture
def gold(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the one that stands in tests/gold, or write it there with --update-gold."""

    def compare(text: str, name: str) -> None:
        path = GOLD / name
        if request.config.getoption("--update-gold"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; write it with --update-gold and read it before you commit it"
        assert text == path.read_text(encoding="utf-8")

    return compare


def conditions() -> set[str]:
    """The conditions of tests/allowed_skips.txt that hold on this machine."""
    held = {"always", "root" if os.geteuid() == 0 else "user", platform.machine()}
    return held | {f"python{'.'.join(platform.python_version_tuple()[:2])}"}


def allowed_skips(text: str, held: set[str]) -> list[str]:
    """The patterns of reasons that may be given here; each line is `condition: pattern -- why`."""
    patterns = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        condition, colon, rest = line.partition(": ")
        pattern, dashes, why = rest.partition(" -- ")
        assert colon and dashes and why.strip(), f"line {number} of allowed skips is not `condition: pattern -- why`"
        if condition in held:
            patterns.append(pattern.strip())
    return patterns


def unexpected(skips: dict[str, str], patterns: list[str]) -> list[str]:
    """The skips, as `test: reason`, whose reason no pattern allows."""
    return [
        f"{test}: {reason}"
        for test, reason in sorted(skips.items())
        if not any(fnmatch.fnmatchcase(reason, pattern) for pattern in patterns)
    ]


class SkipWatch:
    """Collects what was skipped and fails the session on what is not listed."""

    def __init__(self) -> None:
        self.skips: dict[str, str] = {}
        self.unexpected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note(report.nodeid, report.longrepr)

    def _note(self, test: str, longrepr: object) -> None:
        reason = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
        self.skips[test] = reason.removeprefix("Skipped: ")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        patterns = allowed_skips(ALLOWED_SKIPS.read_text(encoding="utf-8"), conditions())
        self.unexpected = unexpected(self.skips, patterns)
        if self.unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.unexpected:
            terminalreporter.section("skipped, but not listed in tests/allowed_skips.txt")
            for line in self.unexpected:
                terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    # Who is started by nohup ignores SIGHUP, in the background of a shell SIGINT, and so would every program of the
    # suite, whatever a test expects of it.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Workers of xdist report to the controller, which alone sees the whole session.
    if os.environ.get("CI") == "true" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipWatch(), "skip-watch")
