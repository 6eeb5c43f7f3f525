"""mqtt refuses and drops clients."""

from __future__ import annotations

from blackstart.proxy.toxics.mqtt import Mqtt
from tests.unit.proxy.stage import passed, removed

CONNACK, CONNACK_5 = bytes.fromhex("20020000"), bytes.fromhex("2006000003220000")[:8]
PUBLISH = b"\x30" + b"\xc8\x01" + bytes(200)


def test_a_connection_is_refused_and_closed() -> None:
    stand = passed(Mqtt(connack=5), CONNACK, PUBLISH)
    assert (stand.sink.data, stand.sink.ended) == (bytes.fromhex("20020005"), "close")


def test_properties_of_a_refusal_are_kept() -> None:
    assert passed(Mqtt(connack=0x87), CONNACK_5).sink.data == bytes.fromhex("2006008703220000")


def test_a_client_is_dropped_after_so_many_packets() -> None:
    stand = passed(Mqtt(disconnect=2), CONNACK + PUBLISH[:50], PUBLISH[50:] + PUBLISH)
    assert (stand.sink.data, stand.sink.ended, stand.pipe.hits) == (CONNACK + PUBLISH, "close", 1)


def test_without_a_code_and_a_count_all_passes() -> None:
    assert passed(Mqtt(), CONNACK, PUBLISH).sink.data == CONNACK + PUBLISH


def test_what_is_no_mqtt_passes_untouched() -> None:
    for data in (b"\0\1\2\3", b"\x30\xff\xff\xff\xff\xff"):
        assert passed(Mqtt(connack=5), data).sink.data == data


def test_half_a_packet_is_not_lost() -> None:
    assert removed(Mqtt(connack=5), PUBLISH[:20]).sink.data == PUBLISH[:20]
