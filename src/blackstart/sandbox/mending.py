"""Making one image equal to another by touching only what differs: of a hundred thousand files a trial changes a few.

Both were copied, at whatever time, from the same image, and each has marks of what is still as that was. What differs
in neither is equal in both. No link is followed: what stands there may be a program's work. Names of one file are not
joined again, nor are attributes taken away; the caller then copies anew. When a file was last read is not put back.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from blackstart.sandbox.copying import Copier, remove_tree
from blackstart.sandbox.marks import NEVER, Marks, mark_of
from blackstart.sandbox.mounts import Displaced, reach


class CannotMend(Exception):
    """It is simpler to copy anew."""


def mend(source: int, theirs: set[str], target: int, ours: set[str], marks: Marks, copier: Copier) -> None:
    """Make what stands below the open directory `target` equal to what stands below `source`.

    theirs, ours: the paths below them that differ from what both were copied from (more than these do no harm); marks:
    ours, which afterwards tell again what still is as that was. What fails leaves a target that is good for nothing.
    """
    replaced: list[str] = []
    directories: set[str] = set()
    try:
        for path in sorted(theirs | ours, key=lambda path: path.split("/")):
            wanted = _look(source, path)
            if replaced and path.startswith(replaced[-1] + "/"):
                if _has_other_names(wanted):
                    raise CannotMend(path)
                continue
            directories.add(os.path.dirname(path))
            present = _look(target, path)
            if wanted and present and stat.S_ISDIR(wanted.st_mode) and stat.S_ISDIR(present.st_mode):
                directories.add(path)
                continue
            if _has_other_names(wanted) or _has_other_names(present):
                raise CannotMend(path)
            _replace(source, target, path, copier)
            replaced.append(path)
        for path in sorted(directories, reverse=True):
            if "/" in path:
                _attributes(source, target, path, copier)
    except (OSError, Displaced) as error:
        raise CannotMend(str(error)) from error
    _remember(target, (ours | directories) - theirs, marks)


def disown(theirs: set[str], known: Marks, marks: Marks) -> None:
    """Let the marks of a fresh copy tell also what differed in the image that was copied, whose marks are `known`."""
    for path in theirs:
        if path not in known:
            marks.pop(path, None)
        parent, name = os.path.split(path)
        if name in known.get(parent, ()):
            marks.setdefault(parent, {})[name] = NEVER
        elif parent in marks:
            marks[parent].pop(name, None)


def _replace(source: int, target: int, path: str, copier: Copier) -> None:
    parent, name = os.path.split(path)
    inner = reach(target, parent, make=False)
    try:
        remove_tree(inner, name)
        outer = reach(source, parent, make=False)
        try:
            copier.one(outer, inner, name, path)
        finally:
            os.close(outer)
    finally:
        os.close(inner)


def _attributes(source: int, target: int, path: str, copier: Copier) -> None:
    """Give a directory that is in both the attributes that it has in the source."""
    try:
        inner = reach(target, path, make=False)
    except (FileNotFoundError, NotADirectoryError, Displaced):
        return  # it was taken away with what it stood in
    try:
        outer = reach(source, path, make=False)
        try:
            if set(os.listxattr(inner)) - set(os.listxattr(outer)):
                raise CannotMend(path)
            copier.attributes(outer, inner, os.fstat(outer), path)
        finally:
            os.close(outer)
    finally:
        os.close(inner)


def _look(top: int, path: str) -> os.stat_result | None:
    parent, name = os.path.split(path)
    try:
        directory = reach(top, parent, make=False)
    except (FileNotFoundError, NotADirectoryError, Displaced):
        return None
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    finally:
        os.close(directory)


def _has_other_names(info: os.stat_result | None) -> bool:
    return info is not None and not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1


def _remember(target: int, paths: Iterable[str], marks: Marks) -> None:
    """These paths of the target are again as they were when both began."""
    for path in paths:
        info = _look(target, path)
        parent, name = os.path.split(path)
        if info is not None and name in marks.get(parent, ()):
            marks[parent][name] = mark_of(info)
