"""What is missing is named; toxics of others join the table."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

import msgspec
import pytest

from blackstart.core.errors import BlackstartError
from blackstart.proxy import ServeOptions, serve, toxics
from blackstart.proxy.pipe import Pipe
from blackstart.proxy.wire import new_toxic


def test_without_the_extra_the_server_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(BlackstartError) as caught:
        serve(ServeOptions(port=0), lambda *_: None)
    assert "blackstart[proxy]" in caught.value.next_step


class Shout(msgspec.Struct, frozen=True):
    """Send everything in upper case."""

    type: ClassVar[str] = "shout"
    loudness: int = 1

    async def run(self, pipe: Pipe) -> None:
        async for data in pipe:
            await pipe.write(data.upper())


def test_a_toxic_of_another_package_is_known_and_takes_no_name_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> Any:
            return Shout

    monkeypatch.setattr(toxics, "entry_points", lambda group: [Entry("shout"), Entry("latency")])
    toxics.known.cache_clear()
    try:
        made = new_toxic({"type": "shout", "attributes": {"loudness": 3}})
        assert made.fault == Shout(loudness=3)
        assert new_toxic({"type": "latency"}).fault.type == "latency"
    finally:
        toxics.known.cache_clear()


def test_no_extra_is_needed_for_the_library() -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = sys.modules['uvloop'] = None; "
        "from blackstart.proxy import SyncProxies; SyncProxies(seed=1).close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
