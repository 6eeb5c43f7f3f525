"""The sandbox as a trial uses it."""

from __future__ import annotations

import os
import signal

import pytest

from blackstart.core.errors import TargetError
from blackstart.sandbox import Zygote

from .conftest import World

pytestmark = pytest.mark.live


def test_what_the_target_writes_stays_in_the_image_and_off_the_host(world: World, zygote: Zygote) -> None:
    zygote.copy("S0", "trial")
    with zygote.sandbox("trial") as sandbox:
        world.shell(sandbox, "echo two >> state/notes; echo x > outside; echo y > /tmp/scratch")
    assert zygote.read("trial", f"{world.state}/notes") == b"one\ntwo\n"
    assert zygote.read("S0", f"{world.state}/notes") == b"one\n"
    assert (world.state / "notes").read_text() == "one\n"
    assert not (world.cwd / "outside").exists()
    assert [c.path for c in zygote.changes("trial")] == [f"{world.cwd}/outside"]
    assert "/tmp/scratch" in {e.path for e in zygote.walk("trial")}


def test_a_kill_takes_the_whole_tree_and_a_restart_sees_what_it_left(world: World, zygote: Zygote) -> None:
    with zygote.sandbox("S0") as sandbox:
        sandbox.start(
            ["sh", "-c", "echo three > state/new; setsid sleep 300 & sleep 301"],
            env={}, stdin=world.null, stdout=world.null, stderr=world.null,
        )  # fmt: skip
        while len(sandbox.census()) < 3:
            assert sandbox.event() is None
        outer = [p.outer_pid for p in sandbox.census()]
        sandbox.kill()
        assert sandbox.census() == []
        assert not any(os.path.exists(f"/proc/{pid}") for pid in outer)
        ended = sandbox.event()
        assert ended is not None and os.WTERMSIG(ended.status) == signal.SIGKILL
        assert sandbox.advance_pids(500)
        assert world.shell(sandbox, "cat state/new; test $$ -gt 500") == "three\n"


def test_a_program_that_cannot_start_says_why(world: World, zygote: Zygote) -> None:
    with zygote.sandbox("S0") as sandbox:
        with pytest.raises(TargetError, match="No such file"):
            world.run(sandbox, "no-such-program")
        with pytest.raises(TargetError, match="Permission denied"):
            world.run(sandbox, "/etc/passwd")
        assert world.shell(sandbox, "echo still usable") == "still usable\n"


@pytest.mark.parametrize("place", ["app/.store", "app/deep/er/.store"])
def test_what_is_omitted_is_neither_seen_nor_reported(world: World, place: str) -> None:
    omitted = world.cwd.parent / place
    omitted.mkdir(parents=True)
    (omitted / "inside").write_text("ours")
    with Zygote(world.layout(omit=[str(omitted)])) as zygote:
        zygote.capture("S0")
        with zygote.sandbox("S0") as sandbox:
            world.shell(sandbox, f"! test -e {omitted}/inside")
            if place == "app/.store":
                world.shell(sandbox, "test -z \"$(ls -A . | grep -v state)\"")
        assert zygote.changes("S0") == []
    assert (omitted / "inside").exists()
