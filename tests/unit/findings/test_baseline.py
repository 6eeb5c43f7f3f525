"""A baseline is read strictly, holds until its day, and is only ever added to."""

from __future__ import annotations

import datetime as dt
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.errors import BlackstartError
from blackstart.findings.baseline import HEADER, Known, added, expired, parse

DAY = dt.date(2027, 3, 1)


def entries(*known: Known) -> dict[str, Known]:
    return {one.fingerprint: one for one in known}


def test_what_is_written_is_read_back_and_people_s_words_stay() -> None:
    first = Known(
        fingerprint="1-a", reason='fixed in "2.0"\n', owner="Ann", expires=DAY, finding="lost-a", path="$CWD/x"
    )
    text = added("", [first], ())
    assert text.startswith(HEADER) and parse(text, "b") == entries(first)
    text = text.replace("[[known]]", "# we talked about this\n[[known]]")
    second = Known(fingerprint="1-b", reason="later")
    more = added(text, [first, second], parse(text, "b"))
    assert more.startswith(text.rstrip("\n")) and parse(more, "b") == entries(first, second)
    assert added(more, [first, second], parse(more, "b")) == more


@given(st.text(min_size=1).filter(str.strip), st.text())
def test_any_text_can_stand_in_an_entry(reason: str, path: str) -> None:
    text = added("", [Known(fingerprint="1-a", reason=reason, path=path)], ())
    known = tomllib.loads(text)["known"][0]
    if (reason + path).isprintable():
        assert known["reason"] == reason and known.get("path", "") == path


def test_bytes_that_are_no_utf8_can_stand_in_a_path() -> None:
    assert "\\\\udce9" in added("", [Known(fingerprint="1-a", reason="r", path="caf\udce9")], ())


def test_an_entry_holds_through_its_day() -> None:
    known = entries(Known(fingerprint="1-a", reason="r", expires=DAY), Known(fingerprint="1-b", reason="r"))
    assert expired(known, DAY) == set() and expired(known, DAY + dt.timedelta(days=1)) == {"1-a"}
    assert known["1-a"].in_words() == "r (until 2027-03-01)"
    assert Known(fingerprint="x", reason="r", owner="Ann", expires=DAY).in_words() == "r (Ann, until 2027-03-01)"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[[known", "not TOML"),
        ("", "missing required field `schema`"),
        ('schema = "blackstart-baseline/9"', "does not read blackstart-baseline/9"),
        (HEADER + '[[known]]\nfingerprint = "1-a"', "missing required field `reason`"),
        (HEADER + '[[known]]\nfingerprint = "1-a"\nreason = " "', "1-a has no reason"),
        (HEADER + '[[known]]\nfingerprint = "1-a"\nreason = "r"\nexpire = 2027-01-01', "unknown field `expire`"),
        (HEADER + '[[known]]\nfingerprint = "1-a"\nreason = "r"\nexpires = "soon"', r"known\[0\].expires"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_key(text: str, what: str) -> None:
    with pytest.raises(BlackstartError, match=what) as error:
        parse(text, "known.toml")
    assert error.value.where == "known.toml" and error.value.next_step
