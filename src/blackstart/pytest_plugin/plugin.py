"""The hooks that pytest calls, and nothing else: each hands on to the module that owns the matter."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from blackstart.pytest_plugin import discovery, frames, keeping, seeds
from blackstart.pytest_plugin.ending import FAILED
from blackstart.pytest_plugin.fixtures import MODULES

# pytest reads this name and loads each fixture's file as a plugin of its own.
pytest_plugins = MODULES

_PREFIX = "blackstart.pytest_plugin."


def pytest_addoption(parser: pytest.Parser) -> None:
    seeds.add_option(parser)
    discovery.add_option(parser)
    keeping.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", discovery.MARKER)


def pytest_itemcollected(item: pytest.Item) -> None:
    keeping.collected(item)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker of a distributed session gets the controller's seed."""
    node.workerinput["blackstart_seed"] = seeds.number(node.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Mistakes of the test are shown at its own line; the marker is judged, and the seed said."""
    said = frames.shorten(call, item.config) if concerns(item) else ""
    report = yield
    if concerns(item):
        if said and report.failed:
            report.longrepr = said
        if call.when == "call":
            item.stash[FAILED] = not report.passed  # one that skips itself had no time for its faults either
        discovery.judge(item, call, report)
        if report.failed:
            report.sections.append(("blackstart", f"replay: {seeds.replay_line(item)}"))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    discovery.summarise(terminalreporter)
    keeping.keep(terminalreporter, config)


def concerns(item: pytest.Item) -> bool:
    """Whether this test is ours: it carries the marker or asks for one of the fixtures."""
    if item.get_closest_marker("resilience"):
        return True
    fixtures: dict[str, Any] = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return any(getattr(found[-1].func, "__module__", "").startswith(_PREFIX) for found in fixtures.values() if found)
