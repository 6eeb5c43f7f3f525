"""What the live tests of the sandbox share: a directory that is nobody's home, and a way to run a command inside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from blackstart.sandbox import Ended, Layout, Sandbox, Zygote
from blackstart.sandbox import sandbox as sandboxes
from blackstart.sandbox import zygote as zygotes

# In a guest without a processor of its own everything takes many times as long.
SLOWNESS = float(os.environ.get("BLACKSTART_TEST_SLOWNESS", "1"))
for owner, limits in ((sandboxes, ("READY", "START", "KILL")), (zygotes, ("HELLO", "ANSWER", "CLOSE"))):
    for name in limits:
        setattr(owner, f"{name}_LIMIT_S", SLOWNESS * getattr(owner, f"{name}_LIMIT_S"))
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


class World:
    """A working directory with a state directory, and a zygote over it."""

    def __init__(self, base: Path) -> None:
        self.cwd = base / "app"
        self.state = self.cwd / "state"
        self.state.mkdir(parents=True)
        self.null = os.open("/dev/null", os.O_RDWR)

    def layout(self, **more: object) -> Layout:
        """The layout most tests use."""
        return Layout.of(cwd=str(self.cwd), home=os.path.expanduser("~"), copies=[str(self.state)], **more)  # type: ignore[arg-type]

    def run(self, sandbox: Sandbox, *argv: str, **more: object) -> tuple[Ended | None, str]:
        """Run a command to its end; its end and all it said."""
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as output:
            try:
                sandbox.start(
                    argv, env={"PATH": PATH}, stdin=self.null, stdout=writing, stderr=writing, **more  # type: ignore[arg-type]
                )
            finally:
                os.close(writing)
            ended = sandbox.event(timeout_s=240 * SLOWNESS)
            sandbox.kill()
            return ended, output.read().decode("utf-8", "surrogateescape")

    def shell(self, sandbox: Sandbox, script: str, **more: object) -> str:
        """The output of a shell script that must succeed."""
        ended, output = self.run(sandbox, "sh", "-c", script, **more)
        assert ended is not None and ended.status == 0, (ended, output)
        return output


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    os.close(made.null)


@pytest.fixture
def zygote(world: World) -> Iterator[Zygote]:
    (world.state / "notes").write_text("one\n")
    with Zygote(world.layout()) as made:
        made.capture("S0")
        yield made
