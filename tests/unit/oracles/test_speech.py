"""An answer is no message, and in doubt a line is a message."""

from __future__ import annotations

import pytest

from blackstart.oracles.speech import message, other_answer, saying
from blackstart.oracles.view import View

from .build import calibration, history, run

CLEAN = 'total: 15\ncolour = green\n{"items": 3}\nsaved note 2\ndrew "a circle" at 3,5\n'


@pytest.mark.parametrize(
    "line",
    [
        "total: 0", "total: -3.5", "colour = none at all", '{"items": 0, "more": []}', "saved note 1",
        'drew "nothing" at 0,0',
    ],
)  # fmt: skip
def test_other_values_in_a_known_line_are_an_answer(line: str) -> None:
    assert message(f"{CLEAN}{line}\n", CLEAN) == ""


@pytest.mark.parametrize(
    "line",
    [
        "total: unknown", "colour = default", '{"error": "no index"}', "saved note 1, but could not sync",
        "a new book is begun", "[1, 2]", "index rebuilt", "saved",
    ],
)  # fmt: skip
def test_trouble_and_lines_of_a_new_make_are_messages(line: str) -> None:
    assert message(f"{CLEAN}{line}\n", CLEAN) == line


def test_on_stderr_every_new_line_is_a_message() -> None:
    assert message("3 read\n", "2 read\n", any_line=True) == "3 read"
    assert message("2 read\n\n", "2 read\n", any_line=True) == ""
    assert message("2 read\n2 read\n", "2 read\n", any_line=True) == "2 read"


def test_what_is_missing_says_nothing() -> None:
    assert message("", CLEAN) == ""
    assert message("total: 15\n", CLEAN, any_line=True) == ""


def test_the_other_answer_stands_in_place_of_a_clean_one() -> None:
    assert other_answer(CLEAN.replace("15", "0"), CLEAN) == ("total: 0", "total: 15")
    assert other_answer(CLEAN, CLEAN) is None
    assert other_answer("total: 15\n", CLEAN) is None  # a list that shrank
    assert other_answer(CLEAN + "saved note 3\n", CLEAN) is None  # one that grew
    assert other_answer("nothing here\n", CLEAN) is None


def test_the_last_line_with_words_is_what_it_says() -> None:
    told = run("restart", {}, stderr=b"list.xml:1: Document is empty\n  \n  ^\n")
    assert saying(View(history("kill", (told,)), calibration()), told) == ", saying: list.xml:1: Document is empty"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("SyntaxError: Unexpected end of JSON input\n    at JSON.parse (<anonymous>)\n\nNode.js v20.20.2\n",
         "SyntaxError: Unexpected end of JSON input"),
        ("panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.main()\n\t/w/a.go:9 +0x1d\n",
         "panic: runtime error: index out of range"),
        ("Traceback (most recent call last):\n  File \"a.py\", line 3\njson.decoder.JSONDecodeError: Extra data\n",
         "json.decoder.JSONDecodeError: Extra data"),
        ("/usr/lib/a.rb:9:in `load': data too short (ArgumentError)\n\tfrom s.rb:3:in `<main>'\n",
         "/usr/lib/a.rb:9:in `load': data too short (ArgumentError)"),
        ("fatal: cannot create 'a.lock': File exists.\n\nAnother process runs here.\nremove the file to continue.\n",
         "fatal: cannot create 'a.lock': File exists."),
        ("warning: old format\nDatabase appears to be locked\n", "Database appears to be locked"),
    ],
)  # fmt: skip
def test_an_exception_is_what_it_says(said: str, found: str) -> None:
    told = run("restart", {}, stderr=said.encode())
    assert saying(View(history("kill", (told,)), calibration()), told) == f", saying: {found}"
