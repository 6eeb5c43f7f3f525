"""What lets bytes out to whoever uses the target, and what it only says to itself."""

from __future__ import annotations

import pytest

from blackstart.core.answering import Answering
from blackstart.core.trace import Operation


def said(*operations: tuple[str, str]) -> list[bool]:
    answering = Answering()
    return [answering.lets_out(Operation(index=at, call=call, path=path)) for at, (call, path) in enumerate(operations)]


@pytest.mark.parametrize("call", ["write", "writev", "sendfile", "splice"])
def test_stdout(call: str) -> None:
    assert said((call, "stdout")) == [True]


def test_what_an_event_loop_says_to_itself_is_no_answer() -> None:
    assert said(("sendto", "socket:"), ("write", "socket:")) == [False, False]


def test_after_something_was_accepted_it_may_be_one() -> None:
    assert said(("sendto", "socket:"), ("accept4", "socket:inet:0.0.0.0:80"), ("sendto", "socket:")) == [
        False,
        False,
        True,
    ]


def test_a_socket_with_a_name_leads_to_another() -> None:
    assert said(("sendmsg", "socket:inet:127.0.0.1:5432"), ("write", "socket:unix:/run/log")) == [True, True]


def test_files_errors_and_reads_let_nothing_out() -> None:
    assert said(("write", "/w/file"), ("write", "stderr"), ("read", "stdout"), ("write", "pipe:")) == [False] * 4
