"""What is torn, and what only looks so: twins of one content."""

from __future__ import annotations

import pytest

from blackstart.oracles.tearing import torn
from tests.unit.oracles.build import file

PATH = "$CWD/d"
OLD, NEW = b"name old\nstate waiting for the post\n", b"name new\nstate sent to the neighbours\n"


def said(content: bytes, *known: bytes) -> str:
    return torn(file(content, PATH), [file(one, PATH) for one in known])


def test_a_value_that_stops_in_the_middle_is_a_part_and_one_written_over_another_a_mixture() -> None:
    assert said(b"name new\nstate sent to\n", OLD, NEW) == "in line 2 stands only a part of a value: state sent to"
    longer = b"state waiting for the postman\n"
    assert "a mixture of two values" in said(NEW[9:24] + longer[15:], longer, NEW[9:])


WORDS = [b"Status: install ok installed\n", b"Status: install reinstreq unpacked\n", b"Status: hold ok unpacked\n"]


def test_words_of_two_known_lines_in_a_third_are_no_mixture() -> None:
    assert said(b"Status: install ok unpacked\n", *WORDS) == ""
    # Bytes where they stood, the whole as long as the old one: that is what a write that was cut off leaves.
    assert "a mixture" in said(WORDS[1][:20] + WORDS[0][20:], *WORDS)


def test_lines_of_other_lengths_are_a_mixture_where_the_old_ones_stand_where_they_stood() -> None:
    old, new = b"count 9\nname of the older\n", b"count 10\nname of the newer one\n"
    mixed = new[:12] + old[12:]
    assert "a mixture of two values, one written over the other" in said(mixed, old, new)
    assert said(mixed + b"count 11\n", old, new) == ""  # begun anew behind it: not known what that is


RECORD = bytes(range(1, 41))


@pytest.mark.parametrize(("between", "expected"), [(b"", "a hole of zeros"), (b"\0" * 40, "")])
def test_zeros_are_a_hole_only_where_clean_runs_write_no_such_run_of_them(between: bytes, expected: str) -> None:
    clean = RECORD + between + RECORD
    assert expected in (told := said(RECORD[:16] + b"\0" * 32 + RECORD[:8], clean)) and bool(told) == bool(expected)


def test_zeros_behind_the_beginning_of_a_row_are_an_empty_field_unless_they_are_a_hole() -> None:
    end = b"\xff" + bytes(40)
    full, empty = (b"\0ustar  \0" + name + end for name in (b"root123", bytes(7)))
    assert said(empty, bytes(len(full)), full) == ""  # a name that could not be found out
    # As many zeros as no clean run wrote in a row are what stood there before.
    assert "one written over the other" in said(full[:9] + bytes(48), bytes(16) + b"\1" * 41, full)


def test_bytes_beside_a_version_of_another_form_are_looked_at_all_the_same() -> None:
    assert said(b"\x00\x01\x02", b"\x00\x01\x03", b"{\"a\": 1}") == ""
