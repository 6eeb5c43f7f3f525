"""Rules in the words of fail-rs and gofail: the same hits, and a refusal for what they cannot do.

What their runtimes do with a text is modelled here from their documentation; gofail's own runtime is asked in
tests/live/pytest_plugin/test_gofail.py. fail-rs is not at hand as a program: for Rust this model is all there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.randomness import Seed
from blackstart.core.rule import RuleError, parse
from blackstart.inprocess import NotArmable
from blackstart.inprocess.elsewhere import Gofail, fail_rs, gofail, in_go, in_rust

TERM = re.compile(r"(?:(\d+(?:\.\d+)?)%)?(?:(\d+)\*)?(\w+)(?:\((.*)\))?")


def modelled(text: str, hits: int) -> list[str]:
    """What each hit does: the first term with a count left acts; `off` is nothing."""
    terms = []
    for part in text.split("->"):
        read = TERM.fullmatch(part)
        assert read and not read[1], part
        terms.append([int(read[2]) if read[2] else None, read[3]])
    done = []
    for _ in range(hits):
        for term in terms:
            if term[0] != 0:
                term[0] = None if term[0] is None else term[0] - 1
                done.append(term[1])
                break
        else:
            done.append("off")
    return done


whens = st.sampled_from(["", "2*", "@1 ", "@3 ", "@2+ ", "3*@2+ ", "@9 "])
rules = st.lists(st.tuples(whens, st.sampled_from(["off", "panic", "return", "print(x)"])), min_size=1, max_size=4)


@given(rules)
def test_the_same_hits_do_the_same_in_all_three(terms: list[tuple[str, str]]) -> None:
    rule = parse(" -> ".join("".join(term) for term in terms))
    counter = rule.counter(Seed(0).source("x"))
    ours = [term.verb if term else "off" for term in (counter.hit() for _ in range(25))]
    assert modelled(fail_rs(rule), 25) == ours
    assert modelled(gofail(rule), 25) == ours


@pytest.mark.parametrize(
    ("rule", "rust", "go"),
    [
        ("panic", "panic", "panic"),
        ("@1 panic", "1*panic", "1*panic"),
        ("@3 panic(gone)", "2*off->1*panic(gone)", '2*off->1*panic("gone")'),
        ("@3+ return(5)", "2*off->return(5)", "2*off->return(5)"),
        ("2*return(no space) -> off", "2*return(no space)", '2*return("no space")'),
        ("20% sleep(50ms)", "20%sleep(50)", "20.000000%sleep(50)"),
        ("0.5%3*return(true)", "0.5%3*return(true)", "0.500000%3*return(true)"),
        ("20% @4+ panic", "3*off->20%panic", "3*off->20.000000%panic"),
        ("20% panic -> print(rest)", "20%panic->print(rest)", '20.000000%panic->print("rest")'),
    ],
)
def test_the_words_of_each(rule: str, rust: str, go: str) -> None:
    assert (fail_rs(rule), gofail(rule)) == (rust, go)


@pytest.mark.parametrize(
    ("translate", "rule", "says"),
    [
        (fail_rs, "raise(OSError: EIO)", "fail-rs cannot raise"),
        (fail_rs, "@2 kill", "fail-rs cannot kill"),
        (fail_rs, "hang", "fail-rs cannot hang"),
        (fail_rs, "exit(3)", "fail-rs cannot exit"),
        (fail_rs, "call(a.b)", "fail-rs cannot call"),
        (fail_rs, "@2+3 panic", "does not know every so many hits"),
        (fail_rs, "20% @3 panic", "does not know a chance on one hit alone"),
        (fail_rs, "20% panic -> @3 off", "does not know a chance and a hit in one chain"),
        (fail_rs, "50000*panic", "does not know counts beyond 10000 hits"),
        (fail_rs, "print(a (b))", "does not know parentheses"),
        (fail_rs, "sleep(0.5ms)", "parts of a millisecond"),
        (gofail, "delay(5ms)", "gofail cannot delay"),
        (gofail, "pause", "gofail cannot pause"),
        (gofail, "raise(OSError)", "gofail cannot raise"),
        (gofail, 'return(a "b" c)', "does not know quotes"),
        (gofail, "panic(é)", "other than ASCII"),
    ],
)
def test_what_they_cannot_do_is_refused_with_its_place(translate: Callable[[str], str], rule: str, says: str) -> None:
    with pytest.raises(RuleError, match=re.escape(says)):
        translate(rule)


def test_a_chance_on_one_hit_is_possible_in_go() -> None:
    assert gofail("20% @3 panic") == "2*off->1*20.000000%panic"


def test_the_environment() -> None:
    assert in_rust({"a::b": "@2 panic", "c": "off"}) == {"FAILPOINTS": "a::b=1*off->1*panic;c=off"}
    assert in_go({"put": "return(7)"}) == {"GOFAIL_FAILPOINTS": "put=return(7)"}
    with pytest.raises(NotArmable, match="separate failpoints"):
        in_go({"put": "return(a=b)"})
    with pytest.raises(NotArmable, match="cannot be the name"):
        in_rust({"a b": "panic"})


def test_a_program_that_does_not_answer_is_named() -> None:
    with pytest.raises(NotArmable, match=r"no gofail answers at 127.0.0.1:1"):
        Gofail("127.0.0.1:1").names()
