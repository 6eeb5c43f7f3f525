"""A trial of each kind as root and as an ordinary user: the same faults fire in the same way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.live.sandbox.people import people, person

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
HERE = Path(__file__).parent


@pytest.mark.parametrize("who", people())
def test_every_kind_fires_whoever_runs_it(who: str) -> None:
    with person(who) as somebody:
        for name in ("stage.py", "ordinary.py"):
            shutil.copy(HERE / name, somebody.library / name)
        ended = somebody.run(str(somebody.library / "ordinary.py"), str(somebody.work), timeout_s=500)
    assert ended.returncode == 0, ended.stderr
    given = json.loads(ended.stdout)
    told = given["trials"]
    for name, one in told.items():
        assert one["trouble"] == "", name
        assert one["fired"][0] >= 1, name
        assert one["healed"] == 0, name
    assert (told["kill"]["how"], told["kill"]["size"]) == ("killed", 100)
    assert told["error"]["said"] == ["read 100", "OSError 28"]
    assert told["short"]["said"] == ["read 100"]
    assert told["short"]["size"] == 150
    assert told["unreadable"]["said"] == ["PermissionError", "PermissionError 13"]
    assert told["read-only"]["said"] == ["read 100", "PermissionError 13"]
    assert told["garbage"]["said"] == ["read 100"]
    assert told["locked"]["said"] == ["read 100"]  # nobody here asks for that lock
    for how in ("bare", "gated"):
        assert given["waits"][f"fifo, {how}"][:2] in (["blocked", "openat"], ["blocked", "open"])
        assert given["waits"][f"sleep, {how}"][:2] == ["timed", "clock_nanosleep"]
        assert 3500 < given["waits"][f"sleep, {how}"][2] <= 3600
        assert given["waits"][f"lock, {how}"][:2] == ["timed", "futex"]
        assert 1700 < given["waits"][f"lock, {how}"][2] <= 1800
