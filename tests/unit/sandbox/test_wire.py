"""Messages arrive whole, with their descriptors, or the reader is told that they do not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.sandbox import wire

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_travel(values: list[bytes]) -> None:
    left, right = socket.socketpair()
    with left, right:
        wire.send(left, {"values": [wire.text(v) for v in values]})
        message, descriptors = wire.receive(right, 5)
    assert [wire.raw(v) for v in message["values"]] == values
    assert descriptors == []


def test_descriptors_travel_and_are_not_inherited(pair: Pair) -> None:
    reading, writing = os.pipe()
    wire.send(pair[0], {"n": 1}, [writing, reading])
    wire.send(pair[0], {"n": 2})
    first, received = wire.receive(pair[1], 5)
    second, none = wire.receive(pair[1], 5)
    assert (first, second, none) == ({"n": 1}, {"n": 2}, [])
    os.write(received[0], b"through")
    assert os.read(reading, 9) == b"through"
    assert not any(os.get_inheritable(d) for d in received)
    for descriptor in (reading, writing, *received):
        os.close(descriptor)


def test_a_message_larger_than_the_socket_holds_arrives_whole(pair: Pair) -> None:
    sender = threading.Thread(target=wire.send, args=(pair[0], {"large": "x" * 5_000_000}))
    sender.start()
    message, _ = wire.receive(pair[1], 30)
    sender.join()
    assert len(message["large"]) == 5_000_000


def test_silence_and_an_end_are_told_apart(pair: Pair) -> None:
    with pytest.raises(wire.Late):
        wire.receive(pair[1], 0.01)
    pair[0].send(b"\5\0")
    with pytest.raises(wire.Late):
        wire.receive(pair[1], 0.01)
    pair[0].close()
    with pytest.raises(wire.Closed):
        wire.receive(pair[1], 5)
    with pytest.raises(wire.Closed):
        wire.send(pair[1], {})
