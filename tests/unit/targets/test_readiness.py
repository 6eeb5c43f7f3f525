"""The forms of `--ready`, and what is said of those that are none. covers: L-2"""

from __future__ import annotations

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.targets.readiness import Ready, parse_ready


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("tcp:8080", Ready(kind="tcp", port=8080)),
        ("tcp:[::1]:80", Ready(kind="tcp", host="::1", port=80)),
        ("http:8080/health", Ready(kind="http", port=8080, path="/health")),
        ("http:8080", Ready(kind="http", port=8080, path="/")),
        ("http://127.0.0.1:8080/health?full=1", Ready(kind="http", port=8080, path="/health?full=1")),
        ("http:http://localhost/", Ready(kind="http", host="localhost", port=80, path="/")),
        ("log:ready to (accept|serve)", Ready(kind="log", pattern="ready to (accept|serve)")),
        ("file:run/server.pid", Ready(kind="file", path="/srv/run/server.pid")),
        ("sleep:250ms", Ready(kind="sleep", after_s=0.25)),
        ("sleep:2", Ready(kind="sleep", after_s=2.0)),
    ],
)
def test_each_form_is_read(text: str, meant: Ready) -> None:
    assert parse_ready(text, "/srv") == meant


@pytest.mark.parametrize("text", ["", "tcp", "tcp:", "tcp:x", "tcp:0", "tcp:65536", "log:(", "sleep:soon", "https://a/",
                                  "http:https://a/", "udp:1", "file:"])  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(BlackstartError) as caught:
        parse_ready(text, "/srv")
    assert "tcp:PORT" in caught.value.next_step and repr(text) in caught.value.what
    assert str(caught.value).count("next:") == 1


@pytest.mark.parametrize(("text", "said"), [("8080", "write tcp:8080, or"), ("tpc:80", "did you mean 'tcp'?"),
                                           ("tcp", "'tcp' cannot be read: there is nothing after tcp:")])  # fmt: skip
def test_a_slip_is_answered_with_what_was_meant(text: str, said: str) -> None:
    with pytest.raises(BlackstartError) as caught:
        parse_ready(text, "/srv")
    assert said in str(caught.value)
