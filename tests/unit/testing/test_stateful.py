"""Faults under Hypothesis: the page's example really is found and shrunk, its repaired form passes, rules are rules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from blackstart import inprocess
from blackstart.core.errors import BlackstartError
from blackstart.core.rule import parse
from blackstart.testing.stateful import Faults, rules

PAGE = Path(__file__).parents[3] / "docs" / "hypothesis.md"
ADDS = "        self.names.add(name)\n"


def session(tmp_path: Path, repaired: bool) -> str:
    """What pytest prints about the page's example, as its reader would have it."""
    cache, test = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[:2]
    if repaired:
        cache = cache.replace(ADDS, "", 1).replace("write_text(value)\n", f"write_text(value)\n{ADDS}")
    (tmp_path / "cache.py").write_text(cache)
    (tmp_path / "test_cache.py").write_text(test)
    # The same draws each time, and no word on how busy this machine is.
    (tmp_path / "conftest.py").write_text(
        "from hypothesis import HealthCheck, settings\n"
        "settings.register_profile('steady', derandomize=True, deadline=None,"
        " suppress_health_check=[HealthCheck.too_slow])\n"
        "settings.load_profile('steady')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_cache.py"]
    # With CI set, pytest says the whole story a second time in its summary.
    env = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500).stdout


def test_the_example_of_the_page_is_found_and_shrunk_to_the_smallest(tmp_path: Path) -> None:
    shown = session(tmp_path, repaired=False)
    console = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    for line in console.replace("…", "").splitlines()[1:]:
        assert line.removeprefix("E").strip() in shown, shown
    assert shown.count("state.inject(") == shown.count("state.put(") == shown.count("state.get(") == 1
    assert "fault at" not in shown, "the faults of all the runs before are no part of the story"


def test_its_repaired_form_passes(tmp_path: Path) -> None:
    assert "1 passed" in session(tmp_path, repaired=True)


@given(rules(["raise(ValueError)", "sleep(1ms)"], hits_max=9, terms_max=3, percents=True))
def test_every_drawn_rule_is_one(text: str) -> None:
    assert str(parse(text)) == text


def test_the_smallest_rule_is_the_first_verb_once_on_the_first_hit() -> None:
    assert find(rules(terms_max=3, percents=True), lambda text: True) == "@1 raise(OSError: EIO)"
    assert find(rules(), lambda text: "+" in text) == "@1+ raise(OSError: EIO)"


def stored(value: int) -> None:
    WORLD.append(value)


WORLD: list[int] = []


class Calls(Faults, RuleBasedStateMachine):
    """Two calls may fail at once; all is healed after each run."""

    calls = (f"{__name__}.stored",)
    faults = rules(["raise(ValueError)"])

    @rule(value=st.integers())
    def store(self, value: int) -> None:
        before = len(WORLD)
        survived = self.survives(stored, value)
        assert len(WORLD) == before + survived

    @rule()
    def fails_by_itself(self) -> None:
        with pytest.raises(ZeroDivisionError):
            self.survives(lambda: 1 // 0)


def test_calls_fail_too_and_nothing_stays_armed() -> None:
    run_state_machine_as_test(Calls, settings=settings(max_examples=30, deadline=None))
    assert inprocess.active() == []


def test_a_machine_without_places_is_a_mistake() -> None:
    class Nothing(Faults, RuleBasedStateMachine):
        @rule()
        def step(self) -> None: ...

    with pytest.raises(BlackstartError, match="Nothing names no failpoints and no calls"):
        Nothing()
