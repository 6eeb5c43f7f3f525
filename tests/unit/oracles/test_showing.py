"""What evidence shows of values and bytes: short, harmless, and from where they differ."""

from __future__ import annotations

import msgspec
import pytest

from blackstart.core.reading import FileState
from blackstart.oracles.showing import apart, short, short_bytes
from blackstart.oracles.words import difference

from .build import file

BLOB = "$CWD/blob"
TEXT = "$CWD/text.txt"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nothing"),
        ("plain, caf\xe9", "plain, caf\xe9"),
        ("\0" * 512 + "end", r"\x00×512end"),
        ("\x1b[2J\tx\udcff", r"\x1b[2J\tx\xff"),
        ("\u202e" * 3, r"\u202e\u202e\u202e"),
        ("a" * 70, "a" * 59 + "…"),
    ],
)
def test_a_value_is_one_short_harmless_line(value: str | None, shown: str) -> None:
    assert short(value) == shown


def test_noise_is_cut_and_not_escaped_by_the_hundred() -> None:
    noise = "".join(chr(1 + n % 31) for n in range(500))
    assert len(short(noise)) == 60 and short(noise).endswith("…")
    assert short_bytes(bytes(range(128, 160))) == "".join(rf"\x{n:02x}" for n in range(128, 140)) + "…"
    assert short_bytes(b"\xd7") == r"\xd7", "never a sign that counts"


def test_long_values_are_shown_from_where_they_part() -> None:
    assert apart("a" * 50 + "b", "a" * 50 + "c" * 20) == ("…aaaaaaaab", "…aaaaaaaa" + "c" * 20, 51)
    assert apart("a" * 90, "a" * 80) == ("…" + "a" * 18, "…" + "a" * 8, 81)
    assert apart("x", "y") == ("x", "y", 0) and apart(None, "y") == ("nothing", "y", 0)
    assert apart("b" + "a" * 90, "a" * 90)[2] == 0


def told(seen: bytes, expected: bytes, path: str = BLOB) -> str:
    return difference(path, file(seen, path), file(expected, path)).partition("; ")[2]


def test_bytes_are_told_by_offset_and_count() -> None:
    clean = b"\0head" + bytes(range(200)) + b"PK\x05\x06" + bytes(18)
    assert told(clean[:205] + bytes(22), clean) == (
        r"first difference at byte 205: \x00×22 instead of PK\x05\x06\x00×18 (4 bytes differ)"
    )
    assert told(clean[:205], clean) == r"first difference at byte 205: the end instead of PK\x05\x06\x00×18"
    assert told(clean + b"\x01", clean) == r"first difference at byte 227: \x01 instead of the end"


def test_what_does_not_read_as_its_name_says_is_told_by_its_bytes() -> None:
    states = [b"runs = %d\n[ui]\ncolor = red\n" % n for n in (1, 2)]
    assert told(*states, "$CWD/app.ini") == (r"first difference at byte 7: 1\n[ui]\ncolor… instead of 2\n[ui]\ncolor…")


def test_of_blocks_and_masked_rows_only_the_place_is_known() -> None:
    large = bytes(20_000)
    assert told(large[:9_000] + b"x" + large[9_001:], large) == "first difference at byte 8192 or a little after it"
    states = [file(b"\0" + letter * 40, BLOB) for letter in (b"a", b"b")]
    masked = [_masked(state) for state in states]
    later = [_masked(file(b"\0" + letter * 15 + b"\0" * 40, BLOB), 1) for letter in (b"a", b"b")]
    text = difference(BLOB, later[0], later[1])
    assert "at byte 1: aaaaaaaaaaaa… instead of" in text and "differ)" not in text, "what is masked is not counted"
    assert "first difference at byte 0 or a little after it" in difference(BLOB, masked[0], masked[1])


def _masked(state: FileState, number: int = 0) -> FileState:
    assert state.content is not None
    leaves = list(state.content.leaves)
    place, row = leaves[number]
    leaves[number] = (place, "*" + row[1:])
    content = msgspec.structs.replace(state.content, leaves=tuple(leaves))
    return msgspec.structs.replace(state, content=content)


def test_a_long_line_is_told_by_its_character() -> None:
    line = b"x" * 4000
    assert told(line + b"new\x01\x01\x01\x01\x01\n", line + b"old\n", TEXT) == (
        r"first difference at line 1, character 4001: …xxxxxxxxnew\x01×5 instead of …xxxxxxxxold"
    )
