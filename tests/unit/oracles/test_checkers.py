"""The small checkers of histories: each must find its wrong, and pass what any order of the unknown explains.

covers: SS-5, G-8
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.history import Act
from blackstart.oracles.checkers import (
    Judgement,
    check_counter,
    check_log,
    check_queue,
    check_register,
    check_set,
)

GOOD = Judgement()


def acts(text: str) -> list[Act]:
    """`a b! c?`: a acknowledged, b refused, c unknown."""
    how = {"!": "fail", "?": "info"}
    return [Act(how=how.get(word[-1], "ok"), id=word.rstrip("!?")) for word in text.split()]


def test_a_set() -> None:
    history = acts("a b c? d!")
    assert check_set(history, ["a", "b"]) == check_set(history, ["b", "a", "c"]) == GOOD
    assert check_set(history, ["a", "b", "d"]) == GOOD  # refused, and done all the same: nobody was told otherwise
    assert check_set(history, ["a"]).lost == ("b",)
    assert check_set(history, ["a", "b", "x"]).wrong == ("x is there, and nobody added it",)
    assert check_set(history, ["a", "b", "x"], frozenset("x")) == GOOD


def test_a_counter() -> None:
    history = acts("a b? c! d")
    assert check_counter(history, 10, 12) == check_counter(history, 10, 13) == GOOD
    assert check_counter(history, 10, 14) == GOOD  # refused, and done all the same
    assert check_counter(history, 10, 11).short == "1 of 2 increments gone: the count is 11"
    assert check_counter(history, 10, 15).wrong == ("the count is 15, more than 14 can explain",)


def test_a_register() -> None:
    history = acts("a b c? d!")
    assert check_register(history, "b") == check_register(history, "c") == check_register(history, "d") == GOOD
    assert check_register(history, "a").lost == ("b",)
    assert check_register(history, "z").wrong
    assert check_register([], "before", "before") == GOOD


def test_an_append_only_log() -> None:
    history = acts("a b c? d")
    assert check_log(history, ["a", "b", "d"]) == check_log(history, ["a", "c", "b", "d"]) == GOOD
    assert check_log(history, ["a", "d"]).lost == ("b",)
    assert check_log(history, ["b", "a", "d"]).wrong == ("b comes before a",)


def test_a_log_in_which_something_was_tried_again() -> None:
    history = acts("a? b a c")  # no answer came to the first try, which was carried out all the same
    assert check_log(history, ["a", "b", "a", "c"]) == check_log(history, ["a", "b", "c"]) == GOOD
    assert check_log(history, ["b", "a", "c"]) == GOOD
    assert check_log(history, ["a", "c", "b"]).wrong == ("c comes before b",)


def test_a_queue() -> None:
    history = acts("a b c?")
    assert check_queue(history, ["b", "a"]) == check_queue(history, ["a", "b", "c"]) == GOOD
    assert check_queue(history, ["a"]).lost == ("b",)
    assert check_queue(history, ["a", "b", "b"]).wrong == ("b was taken 2 times",)
    assert check_queue(history, ["a", "b", "b"], ["a", "b", "a", "b"]) == GOOD  # earlier runs put in the same
    assert check_queue(history, ["a", "b", "b", "b"], ["a", "b", "a", "b"]).wrong == ("b was taken 3 times",)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["", "!", "?"])), unique_by=lambda p: p[0]),
       st.data())  # fmt: skip
def test_what_a_right_service_gives_is_never_wrong(told: list[tuple[str, str]], data: st.DataObject) -> None:
    history = acts(" ".join(name + how for name, how in told))
    done = [name for name, how in told if how == "" or data.draw(st.booleans())]
    assert check_set(history, done) == check_log(history, done) == GOOD
    assert check_queue(history, data.draw(st.permutations(done))) == GOOD
    assert check_counter(history, 5, 5 + len(done)) == GOOD
    if done:
        assert check_register(history, done[-1]) == GOOD
