"""Programs get the same answers inside as outside, on state directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from blackstart.sandbox import probe

from .people import people, person

pytestmark = pytest.mark.live
FAITHFUL = str(Path(__file__).with_name("faithful.py"))
CHECKS_MIN = 30


@pytest.mark.parametrize("who", people())
def test_state_behaves_inside_as_outside(who: str) -> None:
    if not probe().namespaces:
        pytest.skip("no namespaces on this machine")
    with person(who) as somebody:
        ended = somebody.run(FAITHFUL, str(somebody.work))
    assert ended.returncode == 0, ended.stderr
    count, *differences = ended.stdout.splitlines()
    assert int(count) >= CHECKS_MIN
    assert differences == []
