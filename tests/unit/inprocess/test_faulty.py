"""A stand-in fails where its rule says, on every way to the object; a rule that no call would meet is refused.

covers: M-26
"""

from __future__ import annotations

import asyncio
import copy
import io
import os
import pickle
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from blackstart.inprocess import Faulty, NeverFired, NotArmable

NO_SPACE = "raise(OSError: ENOSPC)"


class Client:
    """What asynchronous libraries hand out: entered, iterated, and asked for streams."""

    timeout = 5

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def get(self) -> bytes:
        return b"abc"

    async def lines(self) -> AsyncIterator[str]:
        try:
            said = yield "a"  # type: ignore[misc]
            yield f"said {said}"
        except KeyError:
            yield "caught"

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[bytes]:
        yield b"abc"


def test_who_answers_with_itself_stays_faulty(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with Faulty(open(path, "w"), {"write": NO_SPACE}) as file, pytest.raises(OSError, match="No space"):  # type: ignore[attr-defined]
        file.write("a")
    path.write_text("a\nb\nc\n")
    with Faulty(open(path), {"__next__": "@2 raise(OSError: EIO)"}) as file, pytest.raises(OSError, match="Input"):  # type: ignore[attr-defined]
        list(file)
    connection = sqlite3.connect(":memory:")
    with Faulty(connection, {"execute": "@2 raise(sqlite3.OperationalError)"}) as faulty:  # type: ignore[attr-defined]
        faulty.execute("CREATE TABLE t (a)")
        with pytest.raises(sqlite3.OperationalError):
            faulty.execute("INSERT INTO t VALUES (1)")
    connection.close()


def test_an_asynchronous_client_stays_faulty_and_never_holds_its_loop() -> None:
    async def main() -> None:
        async with Faulty(Client(), {"get": NO_SPACE}) as client:  # type: ignore[attr-defined]
            with pytest.raises(OSError, match="No space"):
                await client.get()
        slow: Any = Faulty(Client(), {"lines": "@1 hang", "stream": "@1 hang"})

        async def read() -> list[str]:
            return [line async for line in slow.lines()]

        async def enter() -> bytes:
            async with slow.stream() as said:
                return bytes(said)

        for begin in (read, enter):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(begin(), 0.01)
        assert await enter() == b"abc"
        lines = slow.lines()
        assert [await lines.asend(None), await lines.asend("b")] == ["a", "said b"]
        lines = slow.lines()
        assert [await anext(lines), await lines.athrow(KeyError())] == ["a", "caught"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("make", "rule", "says"),
    [
        (Client, {"timeout": "raise(OSError)"}, "'timeout' of this Client is a value, and no call"),
        (lambda: Client, {"get": "raise(OSError)"}, "Client is a class: 'get' is called on its objects"),
        (lambda: socket, {"socket": "raise(OSError)"}, "'socket' of this module is a class"),
        (Client, {3: "off"}, "3 is no name of a call: a name is a text"),
        (Client, {"__reduce__": "raise(OSError)"}, "uses of __reduce__ of a Client cannot be counted"),
    ],
)
def test_a_rule_that_no_call_would_meet_is_refused(make: Callable[[], Any], rule: dict[Any, str], says: str) -> None:
    with pytest.raises(NotArmable, match=says):
        Faulty(make(), rule)


def test_an_operator_is_counted_where_a_rule_names_it() -> None:
    counted: Any = Faulty([1], {"__len__": "@2 raise(OSError: EIO)"})
    assert len(counted) == 1
    with pytest.raises(OSError, match="Input/output"):
        len(counted)
    others: Any = Faulty([1], "raise(OSError: EIO)")
    assert (len(others), bool(others), others == [1], others.blackstart.hits) == (1, True, True, 0)


def test_short_reads_by_name_into_buffers_and_of_descriptors(tmp_path: Path) -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"abcdef")
        peer: Any = Faulty(right, {"recv_into": "return(2)"})
        buffer = bytearray(6)
        assert [peer.recv_into(buffer, 6), peer.recv_into(buffer), bytes(buffer[:2])] == [2, 2, b"cd"]

    class Reader:
        def read(self, size: int = -1) -> bytes:
            return b"abcdef"[: size if size >= 0 else None]

    assert Faulty(Reader(), {"read": "return(2)"}).read(size=5) == b"ab"  # type: ignore[attr-defined]
    (tmp_path / "file").write_bytes(b"abcdef")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    system: Any = Faulty(os, {"read": "return(2)"})
    assert system.read(descriptor, 100) == b"ab"
    os.close(descriptor)


def test_a_torn_write_is_one_of_all_that_write() -> None:
    left, right = socket.socketpair()
    with left, right:
        peer: Any = Faulty(left, {"sendall": "raise(OSError: EPIPE)"}, torn_bytes=2)
        with pytest.raises(BrokenPipeError):
            peer.sendall(b"abc")
        assert right.recv(10) == b"ab"
    with pytest.raises(NotArmable, match="torn_bytes is for a write"):
        Faulty(io.BytesIO(), {"read": NO_SPACE}, torn_bytes=2)


def test_a_rule_that_never_did_anything_can_be_told() -> None:
    file: Any = Faulty(io.BytesIO(b"a"), {"write": NO_SPACE})
    file.read()
    with pytest.raises(NeverFired, match="called was: read 1x"):
        file.blackstart.must_have_fired()
    file.blackstart.switch("@1 raise(OSError: EIO)")
    with pytest.raises(OSError, match="Input/output"):
        file.read()
    file.blackstart.heal()
    file.blackstart.must_have_fired()
    Faulty(io.BytesIO(), "off").blackstart.must_have_fired()


@pytest.mark.parametrize("double", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_would_have_none_of_its_rules_and_is_refused(double: Callable[[Any], Any]) -> None:
    with pytest.raises(NotArmable, match="a faulty Client can be neither copied nor pickled"):
        double(Faulty(Client()))
    with pytest.raises(NotArmable, match="a faulty list can be neither copied nor pickled"):
        double(Faulty([1]))
