"""After faults of kinds `file` and `db` the damage is ours, so other rules hold.

The damaged file left as it is, appended to, rewritten so that it is as unreadable as before, refused with a message,
set aside or begun afresh is legal (missing and empty files may be begun afresh in silence). What is not: damaged
content replaced without a word, another state file hurt, a hang or a death by a signal, and a program that still fails
with the good file put back.
"""

from __future__ import annotations

from blackstart.core.history import DEADLINE, SIGNALED, Run
from blackstart.core.masking import same
from blackstart.core.reading import FileState
from blackstart.core.verdict import DEFECT, NOTE, Verdict, failed, passed, unknown
from blackstart.oracles.compare import is_broken, is_empty, is_extended, is_one_of
from blackstart.oracles.legal import versions_of
from blackstart.oracles.speech import saying, spoke
from blackstart.oracles.view import View
from blackstart.oracles.waits import Trouble, died, hangs
from blackstart.oracles.words import difference

OWN_ROLES = ("state", "cache")
_COMPANIONS = ("-wal", "-journal", "-shm")


def judge_state(view: View, name: str) -> tuple[Verdict, ...]:
    """Judge what stands after the target met the damaged file."""
    if view.clean is None or view.first is None:
        return (unknown(name, f"there is no clean run from {view.history.start} to compare with"),)
    damaged = view.damaged()
    if not damaged:
        return (unknown(name, "the history does not tell which file was damaged"),)
    verdicts = [*_replaced(view, name, damaged), *_hurt(view, name, damaged)]
    return tuple(verdicts) or (passed(name, "the damage is the fault's own"),)


def _replaced(view: View, name: str, damaged: frozenset[str]) -> list[Verdict]:
    """Damaged content that was replaced without a word."""
    before, first = view.history.run("before"), view.first
    if before is None or first is None or spoke(view, first) is not False:
        return []
    found = []
    for path in sorted(damaged & set(view.judged(("state",)))):
        versions = versions_of(view, path)
        was, now = view.state(before, path), view.state(first, path)
        why = is_broken(was, versions)
        if was is None or is_empty(was) or not why or same(was, now) or is_extended(was, now):
            continue
        if any(same(now, version) for version in versions) or _is_set_aside(view, first, path, was):
            continue
        if now is not None and now.size >= was.size and is_broken(now, versions):
            continue  # what it made of the damage shows the damage: a filter of lines takes any bytes
        text = f"{path} {why} at the start, and was replaced: the program said nothing and ended with 0"
        found.append(failed(name, "silent", text, paths=[path]))
    return found


def _is_set_aside(view: View, run: Run, path: str, was: FileState) -> bool:
    return any(
        state.digest == was.digest and state.digest and view.masker(other) != path for other, state in run.image.items()
    )


def _hurt(view: View, name: str, damaged: frozenset[str]) -> list[Verdict]:
    """Other state files that were good at the start and are no longer.

    What the program makes of a damaged input or config is its answer to it, and so is a file that shrinks because
    the program began afresh. So only the program's own files count, and one that is gone or empty only where the
    program refused to go on, and did not make it again from the good file.
    """
    if not any(view.calibration.roles.get(path) in OWN_ROLES for path in damaged):
        return []
    last = view.restarts[-1] if view.restarts else view.first
    assert last is not None
    refused = not any(view.ends_as_clean(run) for run in view.history.runs if run.phase != "before")
    found = []
    for path in view.judged(("state",)):
        if path in damaged or any(path == one + suffix for one in damaged for suffix in _COMPANIONS):
            continue
        versions = versions_of(view, path)
        state, start = view.state(last, path), versions[0]
        if is_empty(start) or any(is_empty(version) for version in versions) or _is_the_damage(view, damaged, state):
            continue
        why = is_broken(state, versions)
        if why or (refused and is_empty(state) and not _is_made_again(view, path, versions)):
            text = f"another file was damaged, and {difference(path, state, start, why)}"
            found.append(failed(name, "corrupt" if why else "lost", text, paths=[path]))
    return found


def _is_the_damage(view: View, damaged: frozenset[str], state: FileState | None) -> bool:
    """Whether it holds what stood in the damaged file: it was moved or copied here, as a rotation or a backup does."""
    before = view.history.run("before")
    found = (view.state(before, path) for path in damaged) if before is not None else ()
    return state is not None and any(one is not None and one.digest == state.digest for one in found)


def _is_made_again(view: View, path: str, versions: tuple[FileState | None, ...]) -> bool:
    """Whether what is gone was derived: with the good file put back it stands there again, as clean runs leave it."""
    good = view.history.good_again
    return good is not None and view.ends_as_clean(good) and is_one_of(view.state(good, path), versions)


def judge_restart(view: View, name: str) -> tuple[Verdict, ...]:
    """A refusal is legal as long as the good file makes the program work again."""
    damaged = sorted(view.damaged())
    known = _trouble(view, view.first)  # judged where it first happened
    for run in view.restarts:
        trouble = _trouble(view, run)
        if trouble and trouble.consequence and not (known and known.consequence == trouble.consequence):
            text = f"restarted with {', '.join(damaged) or 'the damaged file'} as it is, {trouble.evidence}"
            return (failed(name, trouble.consequence, text, paths=damaged),)
    good = view.history.good_again
    if good is None:
        return (passed(name, "not asked whether it works with the good file put back"),)
    if view.ends_as_clean(good):
        return (passed(name, "it works again with the good file put back"),)
    if held := _held_by(view):
        text = f"it still fails with the good {', '.join(damaged) or 'file'} put back{saying(view, good)}"
        why = f"{', '.join(held)} stands there, which a clean end takes away"
        return (failed(name, "stuck", text, why, paths=held),)
    consequence = {SIGNALED: "crashed", DEADLINE: "hung"}.get(good.end.how, "corrupt")
    ending = f"exit status {good.end.code}" if consequence == "corrupt" else consequence
    said = saying(view, good)
    text = f"it still fails ({ending}) with the good {', '.join(damaged) or 'file'} put back{said}"
    return (failed(name, consequence, text, paths=damaged, label=NOTE if _is_obeyed(view, damaged) else DEFECT),)


def _held_by(view: View) -> list[str]:
    """What a run that ended in the middle of its work left standing and each clean end removes: a lock, most likely."""
    first = view.first
    if first is None or view.ends_as_clean(first) or not view.restarts:
        return []
    left = {view.masker(path) for path in view.restarts[-1].image}
    kept = {path for clean in view.calibration.chain for path in clean.files}
    roles = view.calibration.roles
    return sorted(path for path in left - kept if roles.get(path) in ("lock", "scratch") and "*" not in path)


def _is_obeyed(view: View, damaged: list[str]) -> bool:
    """Whether it took what was left of a config for a whole one: what it then did is what that config says."""
    is_config = bool(damaged) and all(view.calibration.roles.get(path) == "config" for path in damaged)
    return is_config and view.first is not None and view.ends_as_clean(view.first)


def _trouble(view: View, run: Run | None) -> Trouble | None:
    return (died(run) or hangs(view, run)) if run is not None else None
