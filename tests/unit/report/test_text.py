"""Text with any bytes goes into JSON and comes back; shown to people it cannot do anything."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.report.text import each_string, escape, plain, shell_line, unescape

decoded = st.binary(max_size=60).map(os.fsdecode)
anything = decoded | st.text(max_size=60) | st.text("\\x4f\udc80e", max_size=30)
arguments = st.lists(st.binary(max_size=20).filter(lambda b: b"\0" not in b), min_size=1, max_size=4)


@given(anything)
def test_what_was_escaped_comes_back(text: str) -> None:
    escaped = escape(text)
    escaped.encode("utf-8")
    if text == os.fsdecode(os.fsencode(text) if _is_decoded(text) else b"") or _has_no_surrogates(text):
        assert unescape(escaped) == text


def _is_decoded(text: str) -> bool:
    return all(not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff" for c in text)


def _has_no_surrogates(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("caf\udce9", r"caf\xe9"), (r"\x41", r"\x5cx41"), ("\\n\n", "\\n\n"), ("\\\udcff", r"\\xff"), ("é", "é")],
)
def test_the_form_is_the_documented_one(text: str, escaped: str) -> None:
    assert escape(text) == escaped and unescape(escaped) == text


@given(anything)
def test_shown_text_is_one_line_without_control(text: str) -> None:
    shown = plain(text)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or "\u202a" <= c <= "\u202e" for c in shown)


def test_escape_sequences_and_turned_text_are_made_visible() -> None:
    assert plain("\x1b[31m\u202ea\u200bb\udcff\x9b\t") == r"\x1b[31m\u202ea\u200bb\xff\x9b\t"


def test_what_is_too_long_is_cut() -> None:
    assert plain("a" * 5000) == "a" * 2000 + "…"


@given(arguments)
def test_a_command_line_can_be_pasted_into_a_shell(words: list[bytes]) -> None:
    line = shell_line([os.fsdecode(word) for word in words])
    assert plain(line, 10_000) == line
    printed = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert printed.stdout.split(b"\0")[:-1] == words


def test_every_string_is_reached_keys_too() -> None:
    value = {"a": ["b", {"c": ("d", 1, None, 2.5, True)}]}
    assert each_string(value, str.upper) == {"A": ["B", {"C": ["D", 1, None, 2.5, True]}]}
