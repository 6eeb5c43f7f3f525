"""Is a service well again once what was broken is healed?

`dead` only where it makes no attempt at all: not a call, not a tick of the processor in the time to settle. One that
still tries may be backing off: that is unknown, with what was seen. Where the workload runs once more after healing, it
must work again: one that stands while its work fails, and neither tries nor waits to, is `dead` too. What it did by
itself again and again must come again, too. It does not if it was watched for three periods, did nothing that it does
not do otherwise, and nothing in it began to wait for longer than that.
"""

from __future__ import annotations

from collections.abc import Sequence

from blackstart.core.calibration import Calibration, Effect
from blackstart.core.history import EXITED, SIGNALED, STOPPED, History, Life, Run
from blackstart.core.verdict import PASSED, Verdict, failed, passed, unknown
from blackstart.core.waiting import CONNECTED_S, TICK_S, TICKING_S
from blackstart.oracles.view import View

NAME, OK = "alive", "ok"
# After how long one of whose connections not all are back is taken to try no more.
NO_TRY_S = 30.0
CLIENTS, LIMIT, INFO, LEAKED_MIN, UNSERVED_S = "clients", "limit", "info", 10, 5.0
# How much longer than in a clean run each thing that is asked takes, on average, where somebody waits in vain.
IN_VAIN_S = 0.5
# Kinds after which what comes of the workload depends on connections that the service makes anew, if on anything.
_CONNECTING = ("null", "peer", "dns")
_TELLING = "write writev pwrite64 rename renameat2 sendto sendmsg connect".split()


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`dead` if it runs, was healed, and neither answers nor tries to."""
    view = View(history, calibration)
    first = view.first
    if first is None or first.life is None or view.clean is None or view.clean.life is None:
        return (unknown(NAME, f"there is no clean run from {history.start} to compare with"),)
    life = first.life
    if history.kind == CLIENTS:
        bad = _used_badly(first, life, view.clean.life)
        if bad:
            return bad
    if life.healed_s < 0 or first.end.how != STOPPED:
        return (passed(NAME, "it was not up when the fault was healed"),)
    if life.again_s >= 0:
        works = (_works(life, history.kind, view.clean.life),) if life.again_workload.is_known else ()
        gone = (*(one for one in works if one.outcome != PASSED), *_gone(life, calibration.effects))
        return gone or works or (passed(NAME, f"ready again {life.again_s - life.healed_s:.2f} s after healing"),)
    late = f"{life.stop_s - life.healed_s:.1f} s after everything was healed it"
    if life.tried and life.again and history.kind not in (LIMIT, *_CONNECTING):
        # What it does may be no more than to take in whoever asks.
        return (_is_deaf(life, view.clean.life, f"{late} is not ready"),)
    waited = f"{late} does not answer"
    if life.tried:
        return (unknown(NAME, f"recovering: {waited}, but it still does something"),)
    return (failed(NAME, "dead", f"{waited}, though it runs: not one call, no use of the processor"),)


def _used_badly(run: Run, life: Life, clean: Life) -> tuple[Verdict, ...]:
    """What bad clients may not do: end the service, keep all others from being served, or leave descriptors behind."""
    if life.ready_s >= 0 and life.stop_s < 0 and run.end.how in (EXITED, SIGNALED):
        how = f"exit status {run.end.code}" if run.end.how == EXITED else f"signal {run.end.signal}"
        return (failed(NAME, "dead", f"it ended by itself ({how}) because of what clients did"),)
    if life.acts and all(act.how == INFO for act in life.acts):
        waited_s = life.acts[-1].at_s - life.ready_s
        text = f"while they were there nobody else got an answer: not one of the workload's in {waited_s:.1f} s"
        return (failed(NAME, "hung", text) if waited_s >= UNSERVED_S else unknown(NAME, f"{text}, which is too short"),)
    more = life.census.descriptors - clean.census.descriptors
    if life.stop_s >= 0 and more >= LEAKED_MIN:
        text = f"{more} descriptors more than after a clean run are open, the clients gone"
        return (unknown(NAME, f"{text}, and it still worked") if life.is_busy else failed(NAME, "leaked", text),)
    return ()


def _works(life: Life, kind: str, clean: Life) -> Verdict:
    """Whether the workload does its work again."""
    bad = [act for act in life.again if act.how != OK]
    if not bad and life.again_workload.is_well:
        return passed(NAME, "it does its work again after healing")
    what = f"`{bad[0].how} {bad[0].id}`" if bad else str(life.again_workload)
    text = f"{life.stop_s - life.healed_s:.1f} s after everything was healed it does not do its work: {what}"
    if kind not in (LIMIT, *_CONNECTING):
        return _is_deaf(life, clean, text)
    if kind == LIMIT and life.is_at_work:
        return unknown(NAME, f"recovering: {text}, but it is at work")
    is_back = life.connects > 0 and life.connects >= life.connected
    if is_back and life.idle_s >= CONNECTED_S:
        return failed(NAME, "dead", f"{text}, though it is connected again, for {life.idle_s:.0f} s")
    if is_back or (life.connects and life.idle_s < NO_TRY_S):
        return unknown(NAME, f"recovering: {text}, but it still connects")
    if kind == LIMIT and life.pause_s < life.stop_s - life.healed_s:
        return failed(NAME, "dead", f"{text}, though it lacks nothing any more")
    if 0 < life.pause_s <= TICK_S and life.idle_s >= TICKING_S:
        return failed(NAME, "dead", f"{text}, and for {life.idle_s:.0f} s it has not tried to connect again")
    if life.pause_s:
        return unknown(NAME, f"recovering: {text}; it has not tried to connect again, but wakes by itself")
    return failed(NAME, "dead", f"{text}, and it neither tries to connect again nor wakes by itself")


def _is_deaf(life: Life, clean: Life, text: str) -> Verdict:
    """`dead` if it answers nobody any more. To refuse is another thing: it may be how it takes an error seriously."""
    waited_s = life.stop_s - life.healed_s
    if not life.again or not (all(act.how == INFO for act in life.again) or _waits_in_vain(life, clean)):
        return unknown(NAME, f"recovering: it answers its users, and not as it did: {text}")
    if life.connects and life.idle_s < NO_TRY_S:
        return unknown(NAME, f"recovering: {text}, but it still connects")
    if life.is_at_work:
        return unknown(NAME, f"recovering: {text}, but it is at work")
    if life.pause_s >= waited_s:
        return unknown(NAME, f"recovering: {text}, but something waits for {life.pause_s:.0f} s")
    return failed(NAME, "dead", f"{text}; it answers nobody any more, though it runs and lacks nothing")


def _waits_in_vain(life: Life, clean: Life) -> bool:
    """Whether none of its users was refused, whatever they call it: each waited, and gave up by itself."""
    took_s = (life.again[-1].at_s - life.asked_s) / len(life.again)
    clean_s = (clean.acts[-1].at_s - clean.ready_s) / len(clean.acts) if clean.acts else 0.0
    return life.is_silent and all(act.how != OK for act in life.again) and took_s >= clean_s + IN_VAIN_S


def _gone(life: Life, effects: Sequence[Effect]) -> tuple[Verdict, ...]:
    """A verdict for each periodic effect that did not come again."""
    known = {name for effect in effects for name in effect.names}
    others = sorted(name for name in life.effects if name not in known)
    watched_s = life.stop_s - life.again_s
    found: list[Verdict] = []
    for effect in effects:
        if any(name in life.effects for name in effect.names):
            continue
        what = _named(effect)
        text = f"{what}, which came every {effect.period_s:.1f} s, did not come again in {watched_s:.1f} s"
        if watched_s < effect.watch_s:
            found.append(unknown(NAME, f"{text}; it was not watched for longer"))
        elif others:
            found.append(unknown(NAME, f"recovering: {text}, but it does something else: {others[0]}"))
        elif life.back_off_s:
            found.append(unknown(NAME, f"recovering: {text}, but something waits for {life.back_off_s:.0f} s"))
        else:
            found.append(failed(NAME, "dead", f"it runs, and all is healed; {text}, and nothing in it tries to"))
    return tuple(found)


def _named(effect: Effect) -> str:
    """The most telling of its operations: what is written or sent before what is only prepared."""
    return min(effect.names, key=lambda name: (_rank(name.partition(" ")[0]), len(name), name))


def _rank(call: str) -> int:
    return _TELLING.index(call) if call in _TELLING else len(_TELLING)
