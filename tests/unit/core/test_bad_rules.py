"""A long table of rules that nobody can follow, each with its whole message; very long ones; verbs that are refused."""

from __future__ import annotations

import pytest

from blackstart.core.rule import Rule, RuleError, Term, parse, refuse
from blackstart.core.verbs import VERBS
from tests.unit.core.test_rule import BUILTIN, DURATION, VERBS_ARE

# Text, position of the caret, the whole message but the two lines that show the text.
BAD = [
    ("99.99.9%off", 5, "expected '%' or '*' after this number"),
    ("100.0001%off", 0, "a percentage is above 0 and at most 100"),
    ("-5% off", 0, "expected a verb" + VERBS_ARE),
    ("0.0% off", 0, "a percentage is above 0 and at most 100"),
    ("1e3%off", 1, "expected '%' or '*' after this number"),
    ("1e3*off", 1, "expected '%' or '*' after this number"),
    ("5 %off", 1, "expected '%' or '*' after this number"),
    ("3 *off", 1, "expected '%' or '*' after this number"),
    ("50% 2 *off", 5, "expected '%' or '*' after this number"),
    ("@ off", 1, "'@' needs the number of a hit, from 1"),
    ("@-1 off", 1, "'@' needs the number of a hit, from 1"),
    ("@1+-1 off", 3, "expected a verb" + VERBS_ARE),
    ("@1+1234567890 off", 3, "a step is from 1 to 999999999"),
    ("@999999999999 off", 1, "a hit is from 1 to 999999999"),
    ("@1 + 2 off", 3, "'+' needs a number before it"),
    ("@1@2 off", 2, "a term has one '@'; use '->' for another"),
    ("@2 @3", 3, "a term has one '@'; use '->' for another"),
    ("@1 5%off", 3, "the percentage comes first, once: percent% times* @hit verb"),
    ("5%@1 3*off", 5, "the count comes once, before the hit: percent% times* @hit verb"),
    ("off ->", 6, "expected a verb" + VERBS_ARE),
    ("-> off", 0, "expected a verb" + VERBS_ARE),
    ("off->->off", 5, "expected a verb" + VERBS_ARE),
    ("off -> 3*", 9, "expected a verb" + VERBS_ARE),
    ("off -", 4, "expected '->' or the end"),
    ("off >off", 4, "expected '->' or the end"),
    ("off - off", 4, "expected '->' or the end"),
    ("off => off", 4, "expected '->' or the end"),
    ("off \u2192 off", 4, "expected '->' or the end"),
    ("off; off", 3, "expected '->' or the end"),
    ("\uff4fff", 0, "no verb '\uff4fff'; did you mean 'off'?"),
    ("\u00f6ff", 0, "no verb '\u00f6ff'; did you mean 'off'?"),
    ("\u043f\u0430\u0443\u0437\u0430", 0, "no verb '\u043f\u0430\u0443\u0437\u0430'" + VERBS_ARE),
    ("sl\u00e9ep(1ms)", 0, "no verb 'sl\u00e9ep'; did you mean 'sleep'?"),
    ("\u0663*off", 0, "the digits of a rule are 0 to 9"),
    ("@\u0663 off", 1, "'@' needs the number of a hit, from 1"),
    ("\uff13*off", 0, "the digits of a rule are 0 to 9"),
    ("\u00bd*off", 0, "the digits of a rule are 0 to 9"),
    ("50\u066aoff", 2, "expected '%' or '*' after this number"),
    ("50%\u00f6ff", 3, "no verb '\u00f6ff'; did you mean 'off'?"),
    (
        "raise(\u041e\u0448\u0438\u0431\u043a\u0430)",
        6,
        "no builtin exception '\u041e\u0448\u0438\u0431\u043a\u0430'" + BUILTIN,
    ),
    (
        "raise(OSError\uff1aEIO)",
        6,
        "'OSError\uff1aEIO' is not the name of an exception\n  next:  write it like raise(OSError: EIO)",
    ),
    ("raise(OSError: EI\u00d6)", 15, "no errno 'EI\u00d6'; did you mean 'EIO'?"),
    ("sleep(\uff15ms)", 6, "'\uff15ms' is not a duration" + DURATION),
    ("sleep(5\u00b5s)", 6, "'5\u00b5s' is not a duration" + DURATION),
    ("sleep(ms)", 6, "'ms' is not a duration" + DURATION),
    ("sleep(5 ms)", 6, "'5 ms' is not a duration" + DURATION),
    ("sleep(5s5s)", 6, "the units of '5s5s' do not go from large to small" + DURATION),
    ("sleep(5m 3s)", 6, "'5m 3s' is not a duration" + DURATION),
    ("sleep(1e3s)", 6, "no unit of time 'e' in '1e3s'" + DURATION),
    ("sleep(inf)", 6, "'inf' is not a duration" + DURATION),
    ("sleep(nan)", 6, "'nan' is not a duration" + DURATION),
    ("sleep(0x5)", 6, "no unit of time 'x' in '0x5'" + DURATION),
    ("sleep(9999999999999999s)", 6, "'9999999999999999s' is not a duration" + DURATION),
    ("sleep(1.0000000001s)", 6, "'1.0000000001s' is not a duration" + DURATION),
    ("sleep(,5s)", 6, "',5s' is not a duration" + DURATION),
    ("sleep(5s)(6s)", 9, "expected '->' or the end"),
    ("sleep(5S)", 6, "'5S' is not a duration" + DURATION),
    ("delay(1d)", 6, "no unit of time 'd' in '1d'" + DURATION),
    ("delay( )", 6, "delay needs a duration, such as delay(50ms)"),
    ("sleep(())", 6, "'()' is not a duration" + DURATION),
    ("kill()", 5, "kill takes no argument but 'after', not ''"),
    ("kill(AFTER)", 5, "kill takes no argument but 'after', not 'AFTER'"),
    ("kill( after )", 5, "kill takes no argument but 'after', not ' after '"),
    ("kill(after)(x)", 11, "expected '->' or the end"),
    ("exit()", 5, "an exit status is a number from 0 to 255, not ''"),
    ("exit(0001)", 5, "an exit status is a number from 0 to 255, not '0001'"),
    ("exit(1.0)", 5, "an exit status is a number from 0 to 255, not '1.0'"),
    ("exit( 1 )", 5, "an exit status is a number from 0 to 255, not ' 1 '"),
    ("exit(one)", 5, "an exit status is a number from 0 to 255, not 'one'"),
    ("exit(\uff11)", 5, "an exit status is a number from 0 to 255, not '\uff11'"),
    ("call(.x)", 5, "'.x' is not a dotted path\n  next:  write it like call(shop.testing.note)"),
    ("call(a.)", 5, "'a.' is not a dotted path\n  next:  write it like call(shop.testing.note)"),
    ("call(a..b)", 5, "'a..b' is not a dotted path\n  next:  write it like call(shop.testing.note)"),
    ("call(a.b())", 5, "'a.b()' is not a dotted path\n  next:  write it like call(shop.testing.note)"),
    ("call(a.b c.d)", 5, "'a.b c.d' is not a dotted path\n  next:  write it like call(shop.testing.note)"),
    ("call(1.2)", 5, "'1.2' is not a dotted path\n  next:  write it like call(shop.testing.note)"),
    ("call(a.b,1)", 5, "'a.b,1' is not a dotted path\n  next:  write it like call(shop.testing.note)"),
    ("call()", 5, "call needs a function, such as call(shop.testing.note)"),
    ("call( a.b )", 5, "' a.b ' is not a dotted path\n  next:  write it like call(shop.testing.note)"),
    ("raise(  )", 6, "raise needs an exception, such as raise(OSError: EIO)"),
    ("raise(a.)", 6, "'a.' is not the name of an exception\n  next:  write it like raise(OSError: EIO)"),
    ("raise(.a)", 6, "'.a' is not the name of an exception\n  next:  write it like raise(OSError: EIO)"),
    ("raise(OSError())", 6, "'OSError()' is not the name of an exception\n  next:  write it like raise(OSError: EIO)"),
    (
        "raise(OSError('x'))",
        6,
        "\"OSError('x')\" is not the name of an exception\n  next:  write it like raise(OSError: EIO)",
    ),
    ("raise(OSError: EIO, EINTR)", 15, "no errno 'EIO, EINTR'; did you mean 'EINTR'?"),
    ("raise(OSError: EIO: x)", 15, "no errno 'EIO: x'; did you mean 'EIO'?"),
    (
        "raise(OSError EIO)",
        6,
        "'OSError EIO' is not the name of an exception\n  next:  write it like raise(OSError: EIO)",
    ),
    ("raise(EIO)", 6, "EIO is an errno, not an exception\n  next:  write raise(OSError: EIO)"),
    ("raise(ENOSPC)", 6, "ENOSPC is an errno, not an exception\n  next:  write raise(OSError: ENOSPC)"),
    ("raise(oserror)", 6, "no builtin exception 'oserror'; did you mean 'OSError'?" + BUILTIN),
    ("raise(shop.errors.Broken:)", 24, "shop.errors.Broken: needs the name of an errno, such as EIO"),
    ("raise(shop.errors.Broken: EIOO)", 26, "no errno 'EIOO'; did you mean 'EIO'?"),
    (
        "raise(OSError,EIO)",
        6,
        "'OSError,EIO' is not the name of an exception\n  next:  write it like raise(OSError: EIO)",
    ),
    ("raise(Exception: EIO)", 15, "Exception has no errno; only OSError and its subclasses have one"),
    ("raise[OSError]", 0, "raise needs an exception, such as raise(OSError: EIO)"),
    ("raise OSError", 0, "raise needs an exception, such as raise(OSError: EIO)"),
    ("raise{OSError}", 0, "raise needs an exception, such as raise(OSError: EIO)"),
    ("return(", 6, "this parenthesis is not closed"),
    ("return)", 6, "this parenthesis was not opened"),
    ("return(')')", 9, "expected '->' or the end"),
    ("print(:))", 8, "this parenthesis was not opened"),
    ("print(('a)", 5, "this parenthesis is not closed"),
    ("off off off", 4, "expected '->' or the end"),
    ("OFF", 0, "no verb 'OFF'; did you mean 'off'?"),
    ("Off", 0, "no verb 'Off'; did you mean 'off'?"),
    ("sleeep(1s)", 0, "no verb 'sleeep'; did you mean 'sleep'?"),
    ("pnic", 0, "no verb 'pnic'; did you mean 'panic'?"),
    ("hangs", 0, "no verb 'hangs'; did you mean 'hang'?"),
    ("halt", 0, "no verb 'halt'" + VERBS_ARE),
    ("yield()", 6, "yield takes no argument"),
    ("hang()", 5, "hang takes no argument"),
    ("pause()", 6, "pause takes no argument"),
    ("panic)", 5, "this parenthesis was not opened"),
    ("kil", 0, "no verb 'kil'; did you mean 'kill'?"),
    ("klil", 0, "no verb 'klil'; did you mean 'kill'?"),
    ("returm(3)", 0, "no verb 'returm'; did you mean 'return'?"),
    ("3*3", 3, "expected '%' or '*' after this number"),
    ("%", 0, "'%' needs a number before it"),
    ("@", 1, "'@' needs the number of a hit, from 1"),
    ("*", 0, "'*' needs a number before it"),
    ("->-> ->", 0, "expected a verb" + VERBS_ARE),
    ("3", 1, "expected '%' or '*' after this number"),
    ("3.", 1, "expected '%' or '*' after this number"),
    ("off->3 off", 6, "expected '%' or '*' after this number"),
    ("a-b-c", 0, "no verb 'a-b-c'" + VERBS_ARE),
    ("raise-OSError", 0, "no verb 'raise-OSError'" + VERBS_ARE),
    (
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa(1)",
        0,
        "no verb 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'" + VERBS_ARE,
    ),
    ("1e-5%off", 1, "expected '%' or '*' after this number"),
    ("NaN% off", 0, "no verb 'NaN'" + VERBS_ARE),
    ("''", 0, "expected a verb" + VERBS_ARE),
    ('"off"', 0, "expected a verb" + VERBS_ARE),
    ("off #x", 4, "expected '->' or the end"),
    ("# off", 0, "expected a verb" + VERBS_ARE),
    ("off,", 3, "expected '->' or the end"),
    ("1**off", 2, "'*' needs a number before it"),
    ("@@1 off", 1, "'@' needs the number of a hit, from 1"),
    ("@1++ off", 3, "'+' needs a number before it"),
    ("@1+ + off", 4, "'+' needs a number before it"),
    ("@1+2+3 off", 4, "'+' needs a number before it"),
    ("@1* off", 2, "'*' cannot follow a hit: percent% times* @hit verb"),
    ("@1% off", 2, "'%' cannot follow a hit: percent% times* @hit verb"),
    ("2*@1*off", 4, "'*' cannot follow a hit: percent% times* @hit verb"),
    ("20%2*", 5, "expected a verb" + VERBS_ARE),
    ("20%2*@3+4", 9, "expected a verb" + VERBS_ARE),
]


@pytest.mark.parametrize(("text", "at", "message"), BAD, ids=[ascii(text) for text, _, _ in BAD])
def test_it_is_refused_with_its_place(text: str, at: int, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(text)
    what, _, text_and_caret = str(caught.value).partition("\n")
    _, caret, *rest = text_and_caret.split("\n")
    assert "\n".join([what, *rest]) == message
    assert (caught.value.at, caught.value.exit_status, caret[-1]) == (at, 2, "^")
    # What a wide character does to the caret has a test of its own.
    assert not text.isascii() or len(caret) == len("  ^") + at


@pytest.mark.parametrize(
    ("text", "at"),
    [("off\noff", 3), ("off\toff", 3), ("off\x00", 3), ("print(\u2028)", 6), ("off\u200b", 3), ("\x1b[1moff", 0)],
    ids=ascii,
)
def test_control_characters_and_those_that_cannot_be_seen(text: str, at: int) -> None:
    with pytest.raises(RuleError) as caught:
        parse(text)
    shown = text[:at] + "\N{REPLACEMENT CHARACTER}" + text[at + 1 :]
    assert str(caught.value) == f"a rule is one line without control characters\n  {shown}\n  {' ' * at}^"


NINES, LONG = "9" * 5000, "x" * 5000


@pytest.mark.parametrize(
    ("text", "at", "begins"),
    [
        (NINES + "*off", 0, "a count is from 1 to 999999999"),
        (NINES + "%off", 0, "a percentage is above 0 and at most 100"),
        ("0." + "0" * 5000 + "1% off", 0, "a percentage is above 0 and at most 100"),
        ("@" + NINES + " off", 1, "a hit is from 1 to 999999999"),
        ("@1+" + NINES + " off", 3, "a step is from 1 to 999999999"),
        (NINES, 5000, "expected '%' or '*' after this number"),
        (LONG, 0, "no verb 'xxxxxxxx"),
        ("(" * 5000, 0, "expected a verb"),
        ("print" + "(" * 5000, 5, "this parenthesis is not closed"),
        ("off->" * 3000, 15000, "expected a verb"),
        ("off" + " " * 5000 + "x", 5003, "expected '->' or the end"),
        ("off -> " * 1000 + "slep(1)", 7000, "no verb 'slep'; did you mean 'sleep'?"),
        (f"sleep({NINES})", 6, "'99999999"),
        (f"exit({NINES})", 5, "an exit status is a number from 0 to 255, not '999"),
        (f"raise({LONG})", 6, "no builtin exception 'xxx"),
        (f"raise(OSError: {LONG})", 15, "no errno 'xxx"),
        (f"call({LONG})", 5, "'xxxxxxxx"),
        (f"kill({LONG})", 5, "kill takes no argument but 'after', not 'xxx"),
    ],
    ids=range(18),
)
def test_of_a_very_long_rule_the_part_around_the_fault_is_shown(text: str, at: int, begins: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(text)
    what, shown, caret, *_ = str(caught.value).split("\n")
    assert what.startswith(begins)
    assert (caught.value.at, caught.value.text) == (at, text)
    assert max(map(len, (what, shown, caret))) <= 270
    # The caret still stands under the fault.
    assert (shown + " ")[len(caret) - 1] == (text + " ")[at]


def test_a_long_rule_that_is_right_is_read() -> None:
    assert len(parse(" -> ".join(["@1 off"] * 2000)).terms) == 2000
    assert parse(f"print({LONG})").terms[0].argument == LONG


ARGUMENTS = {"raise": "OSError: EIO", "sleep": "1ms", "delay": "1ms", "call": "shop.testing.note"}


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_can_be_refused_by_a_mechanism_that_names_the_others(verb: str) -> None:
    others = [other for other in VERBS if other != verb]
    term = Term(verb, ARGUMENTS.get(verb), percent=5.0)
    first = Term("off" if verb != "off" else "hang")
    refuse(Rule((first, term)), set(VERBS), "this mechanism")
    with pytest.raises(RuleError) as caught:
        refuse(Rule((first, term)), others, "this mechanism")
    text = f"{first} -> {term}"
    assert str(caught.value) == (
        f"this mechanism cannot {verb}\n  {text}\n  {' ' * text.index(verb)}^\n  next:  it can: {' '.join(others)}"
    )
