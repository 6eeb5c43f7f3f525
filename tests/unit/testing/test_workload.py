"""The helper for workloads: what each outcome is told as."""

from __future__ import annotations

import urllib.error

import pytest

from blackstart.testing import report, say


@pytest.mark.parametrize(
    ("trouble", "how"),
    [
        (None, "ok"),
        (ValueError("no"), "fail"),
        (ConnectionResetError(), "info"),
        (TimeoutError(), "info"),
        (urllib.error.URLError(ConnectionRefusedError()), "info"),
        (urllib.error.HTTPError("", 500, "", None, None), "fail"),  # type: ignore[arg-type]
    ],
)
def test_what_a_block_is_told_as(trouble: Exception | None, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    with report("one"):
        if trouble is not None:
            raise trouble
    said = capsys.readouterr()
    first, identity, took = said.out.split()
    assert (first, identity) == (how, "one") and float(took) >= 0
    assert (said.err == "") == (trouble is None)
    assert trouble is None or (said.err.startswith("one: ") and type(trouble).__name__ in said.err)


def test_interruptions_are_not_swallowed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), report("one"):
        raise KeyboardInterrupt
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("how", "identity"), [("done", "a"), ("ok", ""), ("ok", "two words")])
def test_what_would_be_read_otherwise_is_not_said(how: str, identity: str) -> None:
    with pytest.raises(AssertionError):
        say(how, identity)
