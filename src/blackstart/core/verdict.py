"""Three verdicts; the worst wins; a crashed oracle is unknown, never a pass."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

PASSED, UNKNOWN, FAILED = "passed", "unknown", "failed"
_ORDER = (PASSED, UNKNOWN, FAILED)

CONSEQUENCES = ("lost", "corrupt", "stuck", "silent", "hung", "spinning", "dead", "crashed", "leaked", "unclean")
DEFECT, POLICY, NOTE = "defect", "policy", "note"

# What the evidence of some verdicts begins with, or has in it. The oracles write it, and `findings` tells by it which
# advice helps: a sentence in which these words change, changes in both.
ENDED_WELL = "it ended with exit status 0"
SAYS_SO = "it says that"
CHECK_ANSWERS = "the check answers"
EACH_WHOLE = "each of these files is whole by itself"
GONE_AND = " is gone, and "
READ_BY_OTHERS = " may be read by others"
ARE_GONE = " gone: "
GONE_WHOLE = " is gone, though nothing of its content is"


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one oracle says of one trial.

    oracle: its name; outcome: passed, unknown or failed; consequence: one of CONSEQUENCES when failed;
    label: defect, policy or note; paths: masked paths concerned; evidence: one sentence per item;
    why: for unknown, the reason; note: an observation that is no failure (kept with a pass).
    """

    oracle: str
    outcome: str = PASSED
    consequence: str = ""
    label: str = DEFECT
    paths: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    why: str = ""
    note: str = ""


def passed(oracle: str, note: str = "") -> Verdict:
    return Verdict(oracle=oracle, note=note)


def unknown(oracle: str, why: str) -> Verdict:
    return Verdict(oracle=oracle, outcome=UNKNOWN, why=why)


def failed(oracle: str, consequence: str, *evidence: str, paths: Iterable[str] = (), label: str = DEFECT) -> Verdict:
    assert consequence in CONSEQUENCES, consequence
    return Verdict(
        oracle=oracle, outcome=FAILED, consequence=consequence, evidence=evidence, paths=tuple(paths), label=label
    )


def worst(verdicts: Iterable[Verdict]) -> str:
    """The worst outcome of many; of none, `unknown`."""
    outcomes = [v.outcome for v in verdicts]
    return max(outcomes, key=_ORDER.index) if outcomes else UNKNOWN
