"""Which files clean runs only append to: what stands there stays, and new content comes behind it, in the same file.

Measured: each version that a clean run left holds all of the one before it, and no run emptied the file, cut it or
put another one in its place. What such a file needs against a crash differs from what one that is rewritten needs.
"""

from __future__ import annotations

import os
from itertools import pairwise

from blackstart.core.calibration import Calibration
from blackstart.core.masking import Masker, same
from blackstart.core.reading import FileState
from blackstart.core.trace import OPENING, Operation
from blackstart.oracles.compare import is_empty, is_extended, leaves_of
from blackstart.oracles.view import JUDGED_ROLES


def only_appended(calibration: Calibration) -> frozenset[str]:
    """The masked paths of these files."""
    masker = Masker(calibration.mask)
    replaced = {path for run in calibration.chain for one in run.trace if (path := _replaced(one, masker))}
    judged = {path for path, role in calibration.roles.items() if role in JUDGED_ROLES}
    return frozenset(path for path in judged - replaced if _grows(calibration, path))


def taken_away(calibration: Calibration) -> frozenset[str]:
    """The masked paths of files that clean runs take away and never write: tasks of a queue."""
    masker = Masker(calibration.mask)
    trace = [one for run in calibration.chain for one in run.trace]
    removed = {one.masked or masker(one.path) for one in trace if one.call.startswith("unlink")}
    made = {masker(one.path2) for one in trace if one.path2}
    made |= {one.masked or masker(one.path) for one in trace if one.changes and not one.call.startswith("unlink")}
    return frozenset(path for path in removed - made if calibration.roles.get(path) in JUDGED_ROLES)


def kept(calibration: Calibration) -> frozenset[str]:
    """The masked paths of files that hold something after each clean run: content, and no lock or rest of a run."""
    ends = [{path for path, state in run.files.items() if state.size} for run in calibration.chain]
    always = set.intersection(*ends) if ends else set()
    return frozenset(path for path in always if calibration.roles.get(path) != "lock")


def removed_first(calibration: Calibration) -> frozenset[str]:
    """The masked paths of files that a clean run removes, or moves away, before it renames a new one to that name."""
    masker, found = Masker(calibration.mask), set()
    for run in calibration.chain:
        removed = set()
        for one in run.trace:
            if one.call.startswith("unlink"):
                removed.add(one.masked or masker(one.path))
            elif one.call.startswith("rename") and (path := masker(one.path2)) in removed:
                found |= {path} if run.versions.get(path, (None,))[0] is not None else set()
            if one.call.startswith("rename"):
                removed.add(one.masked or masker(one.path))
    return frozenset(found)


def moved_aside(calibration: Calibration) -> frozenset[str]:
    """The masked paths of backups: made by nothing but renaming a file to them that clean runs make anew."""
    masker, sources = Masker(calibration.mask), dict[str, set[str]]()
    changed = set()
    for run in calibration.chain:
        for one in run.trace:
            path, onto = one.masked or masker(one.path), masker(one.path2) if one.path2 else ""
            if one.call.startswith("rename"):
                sources.setdefault(onto, set()).add(path)
            elif one.changes:
                changed |= {path, onto}
    stand = [run.files.keys() for run in calibration.chain]
    judged = {path for path, role in calibration.roles.items() if role in JUDGED_ROLES}
    return frozenset(
        path
        for path, named in sources.items()
        if path not in changed and named <= judged and all(named <= there for there in stand)
    )


def _replaced(operation: Operation, masker: Masker) -> str:
    """The file that loses what it held by this operation; `` if none does."""
    call = operation.call
    if call.startswith("rename"):
        return masker(operation.path2)
    empties = call == "creat" or (call in OPENING and operation.flags & os.O_TRUNC)
    if empties or call.startswith(("truncate", "ftruncate", "unlink")):
        return operation.masked or masker(operation.path)
    return ""


def _grows(calibration: Calibration, path: str) -> bool:
    pairs = [pair for run in calibration.chain for pair in pairwise(run.versions.get(path, ()))]
    grown = [pair for pair in pairs if not same(*pair) and not is_empty(pair[0])]
    return bool(grown) and all(is_extended(*pair) or _has_more_rows(*pair) for pair in grown)


def _has_more_rows(was: FileState | None, now: FileState | None) -> bool:
    forms = {state.content.form for state in (was, now) if state is not None and state.content is not None}
    return forms == {"csv"} and set(leaves_of(was) or ()) < set(leaves_of(now) or ())
