"""What holds for every rule, duration and size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.randomness import Seed
from blackstart.core.rule import Rule, RuleError, Term, parse
from blackstart.core.units import format_duration, parse_duration
from blackstart.core.verbs import VERBS

counts = st.integers(1, 999_999_999)
plain = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="()") | st.just(" "), max_size=12)
texts = st.recursive(plain, lambda inner: st.builds("{}({}){}".format, plain, inner, plain), max_leaves=4)
names = st.from_regex(r"[a-z_]\w{0,6}(\.[a-z_]\w{0,6}){1,2}", fullmatch=True)
durations = st.builds("{}{}".format, st.integers(0, 10**6), st.sampled_from(["", "ms", "s", "m"]))
ARGUMENTS: dict[str, st.SearchStrategy[str | None]] = {
    "raise": st.sampled_from(["OSError: EIO", "OSError:ENOSPC ", "ValueError"]) | names,
    "return": st.none() | texts,
    "print": st.none() | texts,
    "panic": st.none() | texts,
    "sleep": durations,
    "delay": durations,
    "kill": st.sampled_from([None, "after"]),
    "exit": st.none() | st.integers(0, 255).map(str),
    "call": names,
}


@st.composite
def terms(draw: st.DrawFn) -> Term:
    verb = draw(st.sampled_from(sorted(VERBS)))
    percent = draw(st.none() | st.floats(0, 100, exclude_min=True))
    first = draw(st.none() | counts)
    step = 0 if first is None else draw(st.just(0) | counts)
    return Term(verb, draw(ARGUMENTS.get(verb, st.none())), percent, draw(st.none() | counts), first, step)


rules = st.lists(terms(), min_size=1, max_size=4).map(lambda many: Rule(tuple(many)))


@given(rules)
def test_a_rule_is_read_back_from_its_text(rule: Rule) -> None:
    assert parse(str(rule)) == rule


@given(st.text(alphabet="0123456789%*@+-> ()abefiklnoprsty.:OSErrorEIO\x00é日", max_size=30))
def test_any_text_is_read_or_refused_with_a_place_in_it(text: str) -> None:
    try:
        rule = parse(text)
    except RuleError as error:
        assert 0 <= error.at <= len(text)
    else:
        assert parse(str(rule)) == rule


@given(rules, st.integers(0, 2**32 - 1))
def test_a_counter_never_fires_more_often_than_it_is_hit_or_allowed(rule: Rule, seed: int) -> None:
    counter = rule.counter(Seed(seed).source("rule"))
    fired = [counter.hit() for _ in range(20)]
    assert counter.hits == 20
    assert counter.fired == sum(term is not None for term in fired)
    for term in rule.terms:
        if term.times is not None and rule.terms.count(term) == 1:
            assert fired.count(term) <= term.times


@given(st.integers(0, 10**13))
def test_a_duration_is_read_back_from_its_text(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert parse_duration(format_duration(seconds)) == seconds
