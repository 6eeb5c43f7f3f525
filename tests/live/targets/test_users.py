"""A check that fails without a word is asked once more: its own patience may have been too short on a busy machine."""

from __future__ import annotations

import select
import time
from pathlib import Path

import pytest

from blackstart.targets.users import Users
from tests.live.trials.stage import staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("check", "value"),
    [
        ("test -e asked || { touch asked; exit 1; }; echo have 1", "0\nhave 1\n"),
        ("echo x >>asked; exit $(wc -l <asked)", "2\n"),
        ("echo lost 1; test -e asked || { touch asked; exit 1; }", "1\nlost 1\n"),
        ("echo x >>asked; test $(wc -l <asked) = 1", "0\n"),
    ],
)
def test_a_check_that_fails_and_says_nothing_is_asked_again(check: str, value: str, tmp_path: Path) -> None:
    with staged(tmp_path) as stage, stage.bench.image_from("S0") as image, stage.zygote.sandbox(image) as sandbox:
        poll = select.poll()
        users: Users

        def step(timeout_s: float) -> None:
            sandbox.event()
            for descriptor, _ in poll.poll(timeout_s * 1000):
                users.take(descriptor)

        users = Users(sandbox, poll, time.monotonic, step, lambda: False)
        try:
            reading = users.ask(stage.command(("/bin/sh", "-c", check)), ["1"], 60.0)
        finally:
            users.close()
    assert (reading.value, reading.error) == (value, "")
