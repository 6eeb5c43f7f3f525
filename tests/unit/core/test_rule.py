"""Rules are read exactly, refused with the place of the fault, and counted as their text says."""

from __future__ import annotations

import errno
import socket

import pytest

from blackstart.core.randomness import Seed
from blackstart.core.rule import Counter, ExceptionArgument, Rule, RuleError, Term, parse, refuse
from blackstart.core.verbs import VERBS

VERBS_ARE = f"\n  next:  verbs are: {' '.join(VERBS)}"
DURATION = "\n  next:  write it like 50ms, 2s, 2m or 1h30m, or a number alone (ms)"
BUILTIN = "\n  next:  a builtin exception by its name, any other by its dotted path, such as shop.errors.Broken"
LARGEST = "999999999"

GOOD = [
    ("off", Term("off")),
    ("20%raise(ConnectionResetError)", Term("raise", "ConnectionResetError", percent=20)),
    ("@3 raise(OSError: EIO)", Term("raise", "OSError: EIO", first=3)),
    ("@10+ sleep(50ms)", Term("sleep", "50ms", first=10, step=1)),
    ("@2+3 kill", Term("kill", first=2, step=3)),
    ("kill(after)", Term("kill", "after")),
    ("0.5% 3* @7+2 print(still alive!)", Term("print", "still alive!", percent=0.5, times=3, first=7, step=2)),
    ("return((1, 2))", Term("return", "(1, 2)")),
    ("print(a->b)", Term("print", "a->b")),
    ("  delay(1h30m)  ", Term("delay", "1h30m")),
    ("raise(shop.errors.Broken)", Term("raise", "shop.errors.Broken")),
    ("panic", Term("panic")),
    ("call(shop.testing.note)", Term("call", "shop.testing.note")),
    ("exit(3)", Term("exit", "3")),
    ("print()", Term("print", "")),
]

# Text, position of the caret, the whole message but the two lines that show the text.
BAD = [
    ("", 0, "expected a verb" + VERBS_ARE),
    ("   ", 3, "expected a verb" + VERBS_ARE),
    ("->", 0, "expected a verb" + VERBS_ARE),
    ("off->", 5, "expected a verb" + VERBS_ARE),
    ("off -> -> off", 7, "expected a verb" + VERBS_ARE),
    ("3*", 2, "expected a verb" + VERBS_ARE),
    ("@3", 2, "expected a verb" + VERBS_ARE),
    ("5%", 2, "expected a verb" + VERBS_ARE),
    ("(off)", 0, "expected a verb" + VERBS_ARE),
    ("-3*off", 0, "expected a verb" + VERBS_ARE),
    (".5%off", 0, "expected a verb" + VERBS_ARE),
    ("@2+3*off", 4, "'*' cannot follow a hit: percent% times* @hit verb"),
    ("%off", 0, "'%' needs a number before it"),
    ("5%%off", 2, "'%' needs a number before it"),
    ("*off", 0, "'*' needs a number before it"),
    ("+off", 0, "'+' needs a number before it"),
    ("@3++off", 3, "'+' needs a number before it"),
    ("50 off", 2, "expected '%' or '*' after this number"),
    ("50", 2, "expected '%' or '*' after this number"),
    ("1.%off", 1, "expected '%' or '*' after this number"),
    ("120%off", 0, "a percentage is above 0 and at most 100"),
    ("0%off", 0, "a percentage is above 0 and at most 100"),
    ("3*20%off", 2, "the percentage comes first, once: percent% times* @hit verb"),
    ("20%20%off", 3, "the percentage comes first, once: percent% times* @hit verb"),
    ("@2 20%off", 3, "the percentage comes first, once: percent% times* @hit verb"),
    ("@2 3*off", 3, "the count comes once, before the hit: percent% times* @hit verb"),
    ("3*3*off", 2, "the count comes once, before the hit: percent% times* @hit verb"),
    ("0*off", 0, f"a count is from 1 to {LARGEST}"),
    ("1234567890*off", 0, f"a count is from 1 to {LARGEST}"),
    ("2.5*off", 0, "a count is a whole number"),
    ("@off", 1, "'@' needs the number of a hit, from 1"),
    ("@+ off", 1, "'@' needs the number of a hit, from 1"),
    ("@ 3 off", 1, "'@' needs the number of a hit, from 1"),
    ("@0 off", 1, f"a hit is from 1 to {LARGEST}"),
    ("@1.5 off", 1, "a hit is a whole number"),
    ("@1+0 off", 3, f"a step is from 1 to {LARGEST}"),
    ("@1+2.5 off", 3, "a step is a whole number"),
    ("@1 @2 off", 3, "a term has one '@'; use '->' for another"),
    ("rais(x)", 0, "no verb 'rais'; did you mean 'raise'?"),
    ("raise-> off", 0, "raise needs an exception, such as raise(OSError: EIO)"),
    ("Raise(OSError)", 0, "no verb 'Raise'; did you mean 'raise'?"),
    ("off -> slep(1)", 7, "no verb 'slep'; did you mean 'sleep'?"),
    ("retrun(1)", 0, "no verb 'retrun'; did you mean 'return'?"),
    ("killl", 0, "no verb 'killl'; did you mean 'kill'?"),
    ("fail(EIO)", 0, "no verb 'fail'" + VERBS_ARE),
    ("short-write", 0, "no verb 'short-write'" + VERBS_ARE),
    ("sleep(1", 5, "this parenthesis is not closed"),
    ("print((a)", 5, "this parenthesis is not closed"),
    ("off)", 3, "this parenthesis was not opened"),
    ("print(a))", 8, "this parenthesis was not opened"),
    ("raise (OSError)", 6, "the argument follows its verb without a space"),
    ("off off", 4, "expected '->' or the end"),
    ("off, off", 3, "expected '->' or the end"),
    ("off - > off", 4, "expected '->' or the end"),
    ("print(a)b", 8, "expected '->' or the end"),
    ("off()", 4, "off takes no argument"),
    ("hang(3s)", 5, "hang takes no argument"),
    ("yield(1)", 6, "yield takes no argument"),
    ("pause(x)", 6, "pause takes no argument"),
    ("raise", 0, "raise needs an exception, such as raise(OSError: EIO)"),
    ("@1 raise()", 9, "raise needs an exception, such as raise(OSError: EIO)"),
    ("raise(OSErr)", 6, "no builtin exception 'OSErr'; did you mean 'OSError'?" + BUILTIN),
    ("raise( Broken)", 7, "no builtin exception 'Broken'" + BUILTIN),
    ("raise(print)", 6, "no builtin exception 'print'" + BUILTIN),
    ("raise(3)", 6, "'3' is not the name of an exception\n  next:  write it like raise(OSError: EIO)"),
    ("raise(: EIO)", 6, "'' is not the name of an exception\n  next:  write it like raise(OSError: EIO)"),
    ("raise(OSError: EIOO)", 15, "no errno 'EIOO'; did you mean 'EIO'?"),
    ("raise(OSError: enospc)", 15, "no errno 'enospc'; did you mean 'ENOSPC'?"),
    ("raise(OSError: 5)", 15, "no errno '5'"),
    ("raise(OSError:)", 13, "OSError: needs the name of an errno, such as EIO"),
    ("raise(ValueError: EIO)", 16, "ValueError has no errno; only OSError and its subclasses have one"),
    ("sleep", 0, "sleep needs a duration, such as sleep(50ms)"),
    ("delay()", 6, "delay needs a duration, such as delay(50ms)"),
    ("sleep(soon)", 6, "'soon' is not a duration" + DURATION),
    ("sleep(-5ms)", 6, "'-5ms' is not a duration" + DURATION),
    ("sleep(5y)", 6, "no unit of time 'y' in '5y'" + DURATION),
    ("sleep(5s1h)", 6, "the units of '5s1h' do not go from large to small" + DURATION),
    ("kill(befor)", 5, "kill takes no argument but 'after', not 'befor'"),
    ("exit(256)", 5, "an exit status is a number from 0 to 255, not '256'"),
    ("exit(-1)", 5, "an exit status is a number from 0 to 255, not '-1'"),
    ("call", 0, "call needs a function, such as call(shop.testing.note)"),
    ("call(note)", 5, "'note' is not a dotted path\n  next:  write it like call(shop.testing.note)"),
]


@pytest.mark.parametrize(("text", "term"), GOOD, ids=[text for text, _ in GOOD])
def test_a_good_term_is_read(text: str, term: Term) -> None:
    assert parse(text) == Rule((term,))


@pytest.mark.parametrize(("text", "at", "message"), BAD, ids=[text[:30] for text, _, _ in BAD])
def test_a_bad_rule_is_refused_with_its_place(text: str, at: int, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(text)
    what, newline, rest = message.partition("\n")
    assert str(caught.value) == f"{what}\n  {text}\n  {' ' * at}^{newline}{rest}"
    assert caught.value.at == at
    assert caught.value.exit_status == 2


def test_the_caret_stands_under_the_fault_after_wide_characters() -> None:
    with pytest.raises(RuleError) as caught:
        parse("print(日本)->slep(1)")
    assert str(caught.value).splitlines()[2] == " " * (2 + len("print(xxxx)->")) + "^"


def test_control_characters_are_refused_and_not_printed() -> None:
    with pytest.raises(RuleError) as caught:
        parse("print(\x1b[31m)")
    assert "\x1b" not in str(caught.value)
    assert caught.value.at == 6


def test_bytes_that_are_no_utf8_pass_through_a_text() -> None:
    assert parse("print(\udcff)").terms[0].argument == "\udcff"


def test_chains_keep_their_order_and_have_one_spelling() -> None:
    rule = parse("2*hang->@3   raise( OSError:EIO )->20.50%off")
    assert [term.verb for term in rule.terms] == ["hang", "raise", "off"]
    assert str(rule) == "2*hang -> @3 raise( OSError:EIO ) -> 20.5% off"


def test_arguments_are_given_as_values() -> None:
    assert parse("raise( OSError :EIO)").terms[0].exception == ExceptionArgument("OSError", "EIO")
    assert parse("raise(OSError: EIO)").terms[0].exception.number == errno.EIO
    assert parse("raise(KeyError)").terms[0].exception == ExceptionArgument("KeyError")
    assert parse("sleep(1.5s)").terms[0].duration_s == 1.5
    assert parse("delay(50)").terms[0].duration_s == 0.05
    assert parse("return(17)").terms[0].number == 17
    assert parse("return(b'x')").terms[0].number is None
    assert parse("kill(after)").terms[0].is_after
    assert not parse("kill").terms[0].is_after


def test_a_term_made_in_code_obeys_the_same_rules() -> None:
    with pytest.raises(RuleError, match="no errno 'EIOO'"):
        Term("raise", "OSError: EIOO")
    with pytest.raises(RuleError, match="balanced"):
        Term("print", "a)")
    with pytest.raises(AssertionError):
        Term("off", step=2)


def counted(text: str, hits: int, seed: int = 1) -> list[str]:
    counter = parse(text).counter(Seed(seed).source("test"))
    return [term.verb if (term := counter.hit()) else "-" for _ in range(hits)]


def test_a_hit_is_counted_from_one() -> None:
    assert counted("@2 kill", 4) == ["-", "kill", "-", "-"]
    assert counted("@2+ kill", 4) == ["-", "kill", "kill", "kill"]
    assert counted("@2+2 kill", 6) == ["-", "kill", "-", "kill", "-", "kill"]


def test_times_are_used_up_only_by_firing() -> None:
    assert counted("2*@3+ kill", 6) == ["-", "-", "kill", "kill", "-", "-"]
    verbs = counted("50% 3*kill", 100)
    assert verbs.count("kill") == 3
    assert "-" in verbs[: verbs.index("kill") + 4] or verbs[:3] == ["kill"] * 3


def test_a_later_term_is_looked_at_only_if_the_earlier_did_not_fire() -> None:
    assert counted("2*hang -> kill", 4) == ["hang", "hang", "kill", "kill"]
    assert counted("@1 hang -> 2*kill -> yield", 5) == ["hang", "kill", "kill", "yield", "yield"]


def test_hits_are_counted_over_the_whole_rule() -> None:
    assert counted("2*hang -> @3 kill", 4) == ["hang", "hang", "kill", "-"]
    assert counted("2*hang -> @2 kill", 4) == ["hang", "hang", "-", "-"]


def test_off_protects_a_hit_and_is_no_firing() -> None:
    counter = parse("@2 off -> kill").counter(Seed(1).source("test"))
    assert [bool(counter.hit()) for _ in range(3)] == [True, False, True]
    assert (counter.hits, counter.fired) == (3, 2)


def test_a_percentage_is_drawn_from_the_seed() -> None:
    first, again, other = (counted("30% kill", 1000, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert 240 < first.count("kill") < 360
    assert counted("100% kill", 50) == ["kill"] * 50


def test_counters_of_one_rule_are_independent() -> None:
    rule = parse("1*kill")
    left, right = (rule.counter(Seed(1).source("test")) for _ in range(2))
    assert isinstance(left, Counter)
    assert left.hit() == right.hit() == Term("kill", times=1)


def test_a_mechanism_refuses_what_it_cannot_do_and_names_what_it_can() -> None:
    rule = parse("2*kill -> 5% call(shop.testing.note)")
    refuse(rule, {"kill", "call"}, "this mechanism")
    with pytest.raises(RuleError) as caught:
        refuse(rule, {"delay", "kill", "raise"}, "the strace backend")
    assert str(caught.value).splitlines() == [
        "the strace backend cannot call",
        "  2*kill -> 5% call(shop.testing.note)",
        "  " + " " * 13 + "^",
        "  next:  it can: raise delay kill",
    ]


def test_a_name_that_is_not_found_has_numbers_of_its_own() -> None:
    again = parse("@1 raise(socket.gaierror: EAI_AGAIN)").terms[0].exception
    assert (again.number, parse("raise(OSError: EIO)").terms[0].exception.number) == (socket.EAI_AGAIN, errno.EIO)
    for text in ("raise(socket.gaierror: EIO)", "raise(OSError: EAI_AGAIN)", "raise(socket.gaierror: EAI_AGIN)"):
        with pytest.raises(RuleError, match=r"no (errno|error of getaddrinfo) "):
            parse(text)
