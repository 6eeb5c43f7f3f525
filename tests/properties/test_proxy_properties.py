"""Whatever a chain of toxics is, and whenever they come, change and go: bytes arrive whole and in order.

covers: R-20
"""

from __future__ import annotations

import asyncio
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from blackstart.core.randomness import Seed
from blackstart.proxy.link import Link
from blackstart.proxy.pipe import FIN
from blackstart.proxy.toxic import Toxic
from blackstart.proxy.toxics.bandwidth import Bandwidth
from blackstart.proxy.toxics.http import Http
from blackstart.proxy.toxics.latency import Latency
from blackstart.proxy.toxics.modbus import Modbus
from blackstart.proxy.toxics.mqtt import Mqtt
from blackstart.proxy.toxics.noop import Noop
from blackstart.proxy.toxics.packet_loss import PacketLoss
from blackstart.proxy.toxics.slicer import Slicer
from blackstart.proxy.toxics.slow_close import SlowClose
from blackstart.proxy.wire import ApiError, decode, new_toxic, proxy_body
from tests.unit.proxy.stage import Sink

FAULTS = [
    Noop(),
    Latency(latency=1, jitter=1),
    Latency(latency=3_600_000),
    Bandwidth(),
    Bandwidth(rate=1000),
    Slicer(average_size=3, size_variation=2),
    SlowClose(delay=3_600_000),
    PacketLoss(loss_rate=1.0),
    Http(),
    Modbus(every=1000),
    Mqtt(),
]
ACTIONS = st.one_of(
    st.tuples(st.just("put"), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("add"), st.tuples(st.sampled_from(FAULTS), st.integers(0, 5))),
    st.tuples(st.just("remove"), st.integers(0, 5)),
    st.tuples(st.just("change"), st.integers(0, 5)),
    st.tuples(st.just("turns"), st.integers(0, 4)),
    st.tuples(st.just("full"), st.booleans()),
)


async def play(actions: list[tuple[str, object]]) -> tuple[bytes, Sink]:
    sink, sent, number = Sink(), bytearray(), 0
    link = Link("downstream", sink, lambda: None)
    for what, value in actions:
        if what == "put":
            link.head.put(value)  # type: ignore[arg-type]
            sent += value  # type: ignore[operator]
        elif what == "add":
            fault, place = value  # type: ignore[misc]
            number += 1
            toxic = Toxic(str(number), "downstream", fault)
            link.add(toxic, min(place, len(link.stages)), partial(Seed(1).source, number))
        elif what == "turns":
            for _ in range(value):  # type: ignore[call-overload]
                await asyncio.sleep(0)
        elif what == "full":
            sink.full = bool(value)
            if not sink.full:
                sink.drain()
        elif link.stages:
            stage = link.stages[value % len(link.stages)]  # type: ignore[operator]
            if what == "remove":
                await link.remove(stage)
            else:
                await stage.stop()
                stage.start()
    link.head.end(FIN)
    for stage in list(link.stages):
        await link.remove(stage)
    return bytes(sent), sink


@settings(deadline=None, max_examples=300)
@given(st.lists(ACTIONS, max_size=25))
def test_nothing_is_lost_and_nothing_overtakes(actions: list[tuple[str, object]]) -> None:
    sent, sink = asyncio.run(play(actions))
    assert sink.data == sent
    assert sink.ended == FIN


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_a_body_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    for read in (proxy_body, new_toxic):
        try:
            read(decode(body))
        except ApiError as error:
            assert error.status in (400, 409)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from("name type stream toxicity attributes rule window listen upstream toxics tls Latency".split())


@settings(deadline=None)
@given(st.dictionaries(KEYS, JSON | st.sampled_from(["latency", "upstream", "@3", "1s..2s"]), max_size=7))
def test_any_json_is_a_toxic_and_a_proxy_or_refused(value: dict[str, object]) -> None:
    for read in (proxy_body, new_toxic):
        try:
            read(value)
        except ApiError as error:
            assert error.status == 400
