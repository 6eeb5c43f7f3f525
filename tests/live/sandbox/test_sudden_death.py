"""SIGKILL to the supervisor at any moment leaves no process, mount, namespace or file behind."""

from __future__ import annotations

import os
import random
import tempfile
import threading
from pathlib import Path

import pytest

from blackstart.sandbox import probe

from .people import Person, people, person

pytestmark = pytest.mark.live
DOOMED = str(Path(__file__).with_name("doomed.py"))
DEATHS = 10
GONE_LIMIT_S = 120.0


def alive(somebody: Person, mark: str) -> list[str]:
    """Living processes that are helpers of this person's library, or carry the target's mark."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes()
            environment = Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if str(somebody.library).encode() in command or f"DOOMED_MARK={mark}".encode() in environment:
            found.append(f"{name}: {command!r}")
    return found


def wait_for_nobody(somebody: Person, mark: str) -> list[str]:
    pause = threading.Event()
    for _ in range(int(GONE_LIMIT_S / 0.02)):
        left = alive(somebody, mark)
        if not left:
            break
        pause.wait(0.02)
    return left


@pytest.mark.parametrize("who", people())
@pytest.mark.parametrize("isolation", ["namespaces", "landlock"])
def test_nothing_outlives_the_supervisor(isolation: str, who: str) -> None:
    if not getattr(probe(), isolation):
        pytest.skip(f"no {isolation} on this machine")
    moments = random.Random(f"{isolation} {who}")
    mounts = Path("/proc/self/mountinfo").read_text()
    with person(who) as somebody, tempfile.TemporaryDirectory() as temporary:
        os.chmod(temporary, 0o777)
        for death in range(DEATHS):
            mark = f"{os.getpid()}-{who}-{isolation}-{death}"
            process = somebody.start(
                DOOMED, isolation, str(somebody.work), TMPDIR=temporary, DOOMED_MARK=mark, PYTHONDONTWRITEBYTECODE="1"
            )
            assert process.stdout is not None and process.stdout.readline() == "begun\n"
            threading.Event().wait(moments.random() * 0.8)
            process.kill()
            process.communicate(timeout=500)
            assert wait_for_nobody(somebody, mark) == []
            assert os.listdir(temporary) == []
        state = somebody.work / "app/state"
        assert sorted(os.listdir(state)) == ["notes"]
    assert Path("/proc/self/mountinfo").read_text() == mounts
