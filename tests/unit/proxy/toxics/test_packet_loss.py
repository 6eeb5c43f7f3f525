"""packet_loss loses datagrams, and never a byte of a stream."""

from __future__ import annotations

from blackstart.core.clock import SYSTEM
from blackstart.proxy.toxics.packet_loss import PacketLoss
from tests.unit.proxy.stage import delivered, passed, removed


def test_the_share_of_lost_datagrams_is_the_rate() -> None:
    left = len(delivered(PacketLoss(loss_rate=0.25), *[b"x"] * 4000))
    assert 2850 < left < 3150


def test_losses_come_in_bursts_where_they_are_correlated() -> None:
    datagrams = [bytes([number % 256]) for number in range(2000)]

    def runs(correlation: float) -> int:
        kept = delivered(PacketLoss(loss_rate=0.1, correlation=correlation), *datagrams)
        return len(kept)

    assert runs(0.9) < runs(0.0) - 200


def test_a_stream_arrives_whole_but_late() -> None:
    began = SYSTEM.monotonic()
    stand = passed(PacketLoss(loss_rate=0.5), b"a", b"b", b"c", seed=3)
    assert stand.sink.data == b"abc"
    assert stand.pipe.hits > 0
    assert SYSTEM.monotonic() - began >= 0.2


def test_removing_it_lets_a_stream_go_on() -> None:
    assert removed(PacketLoss(loss_rate=1.0), b"a", b"b").sink.data == b"ab"
