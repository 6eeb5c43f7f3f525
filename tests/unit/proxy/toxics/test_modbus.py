"""modbus changes answers of a device."""

from __future__ import annotations

import struct

from blackstart.proxy.toxics.modbus import Modbus
from tests.unit.proxy.stage import passed, removed


def frame(transaction: int, data: bytes, function: int = 3) -> bytes:
    return struct.pack(">HHHBB", transaction, 0, len(data) + 2, 1, function) + data


ANSWERS = [frame(number, b"\4\0\1\0\2") for number in range(1, 4)]


def test_an_exception_takes_the_place_of_the_data() -> None:
    stand = passed(Modbus(exception=4), *ANSWERS)
    assert stand.sink.chunks == [struct.pack(">HHHBBB", number, 0, 3, 1, 0x83, 4) for number in (1, 2, 3)]
    assert stand.pipe.hits == 3


def test_another_transaction() -> None:
    assert passed(Modbus(wrong_id=1), ANSWERS[0]).sink.data == frame(0xFE, b"\4\0\1\0\2")


def test_silence_for_each_second_answer_wherever_reads_end() -> None:
    joined = b"".join(ANSWERS)
    stand = passed(Modbus(silent=1, every=2), *(joined[at : at + 5] for at in range(0, len(joined), 5)))
    assert stand.sink.data == ANSWERS[0] + ANSWERS[2]


def test_what_is_no_modbus_passes_untouched() -> None:
    assert passed(Modbus(silent=1), b"GET / HTTP/1.1\r\n", b"\r\n").sink.data == b"GET / HTTP/1.1\r\n\r\n"


def test_half_a_frame_is_not_lost() -> None:
    assert removed(Modbus(silent=1), ANSWERS[0][:7]).sink.data == ANSWERS[0][:7]
    assert passed(Modbus(silent=1), ANSWERS[0][:7]).sink.data == ANSWERS[0][:7]
