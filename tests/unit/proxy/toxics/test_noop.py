"""noop passes everything on."""

from __future__ import annotations

from blackstart.proxy.toxics.noop import Noop
from tests.unit.proxy.stage import passed, removed


def test_all_passes_and_ends_as_it_ended() -> None:
    stand = passed(Noop(), b"a", b"b")
    assert (stand.sink.data, stand.sink.ended, stand.pipe.hits) == (b"ab", "fin", 0)


def test_removing_it_loses_nothing() -> None:
    assert removed(Noop(), b"a", b"b").sink.data == b"ab"
