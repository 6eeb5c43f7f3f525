"""A program beside the target ends with all that it started, whichever of them is still there.

covers: SS-5
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from blackstart.core.clock import SYSTEM
from blackstart.sandbox.descent import descendants
from blackstart.targets.aside import Aside
from tests.live.trials.stage import staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


def wait_for(is_so: Callable[[], bool]) -> None:
    end_s = SYSTEM.monotonic() + 20
    while not is_so():
        assert SYSTEM.monotonic() < end_s, "it does not come to that"
        SYSTEM.sleep(0.01)


@pytest.mark.parametrize(
    ("script", "ends"), [("sleep 50 & exit 0", True), ("setsid sleep 50 & exit 0", True), ("sleep 50; true", False)]
)
def test_all_of_it_ends_and_nobody_else(script: str, ends: bool, tmp_path: Path) -> None:
    with staged(tmp_path) as stage, stage.bench.image_from("S0") as image, stage.zygote.sandbox(image) as sandbox:
        commands = [stage.command(("/bin/sh", "-c", text)) for text in (script, "sleep 50; true")]
        asides = [Aside(sandbox, command, SYSTEM.monotonic) for command in commands]
        one, other = (sandbox.beside_pid(aside.number) for aside in asides)
        wait_for(lambda: bool(descendants(one)) and bool(descendants(other)))
        if ends:
            wait_for(lambda: sandbox.event() is None and sandbox.ended_beside(asides[0].number) == 0)
        asides[0].kill()
        wait_for(lambda: not descendants(one))
        assert descendants(other)
        asides[0].kill()
        for aside in asides:
            aside.close()
