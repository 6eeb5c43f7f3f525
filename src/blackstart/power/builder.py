"""Crash states as files on a disk, each built from the one before: only what differs is touched.

Directories are reached by descriptors and no link is followed, since what stands there may be a program's work. A file
is never written through one that stands there: it may have another name as well.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from blackstart.power.image import Contents, Layout, Names
from blackstart.power.tree import DIRECTORY, FILE, SYMLINK, Node

if TYPE_CHECKING:
    from blackstart.power.recording import Recording
    from blackstart.power.states import State

# Files are as old as this, so that whoever changes one afterwards changes its time too.
PAST_NS = 10 * 10**9
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Builder:
    """Builds crash states of one recording into directories, each from what the one before left there.

    places: root as the target sees it -> descriptor-openable directory that holds the start state now.
    """

    def __init__(self, recording: Recording, places: Mapping[str, str], *, contents: Contents, names: Names) -> None:
        self._contents = contents
        self._names = names
        self._roots = {root: os.open(place, _DIRECTORY_FLAGS) for root, place in places.items()}
        self._nodes = recording.tree.nodes
        self._layered = recording.layered
        self._now: dict[str, tuple[int, int]] = {
            path: (inode, contents.digest(inode, 0) if self._nodes[inode].kind == FILE else 0)
            for path, inode in names.start.items()
        }

    def close(self) -> None:
        for descriptor in self._roots.values():
            os.close(descriptor)
        self._roots.clear()

    def paths(self) -> frozenset[str]:
        """The paths of interest that stand there now."""
        return frozenset(self._now)

    def forget(self, paths: Iterable[str]) -> None:
        """These paths were changed by somebody else: whatever stands there is replaced at the next build."""
        for path in paths:
            self._now[path] = (-1, 0)

    def build(self, state: State) -> int:
        """Make the directories equal to this crash state; how many paths had to be touched."""
        wanted = self._names.layout(state.mask)
        contents, nodes, now = self._contents, self._nodes, self._now
        touched = 0
        for path in sorted((p for p in now if self._must_go(p, wanted)), key=lambda p: -p.count("/")):
            self._remove(path)
            del now[path]
            touched += 1
        marks = {
            path: (inode, contents.digest(inode, state.mask, state.garbage) if nodes[inode].kind == FILE else 0)
            for path, inode in wanted.items()
        }
        made = {mark[0]: path for path, mark in marks.items() if now.get(path) == mark}
        for path in sorted((p for p in wanted if now.get(p) != marks[p]), key=lambda p: p.count("/")):
            self._make(path, wanted[path], state, made)
            made.setdefault(wanted[path], path)
            now[path] = marks[path]
            touched += 1
        return touched

    def _must_go(self, path: str, wanted: Layout) -> bool:
        if path not in wanted:
            return True
        known = self._now[path][0]
        return (
            known < 0
            or self._nodes[known].kind != self._nodes[wanted[path]].kind
            or (known != wanted[path] and self._nodes[known].kind != FILE)
        )

    def _parent(self, path: str) -> tuple[int, str]:
        """(a new descriptor of the directory, name)"""
        root = max((r for r in self._roots if path.startswith(r + "/")), key=len)
        *parents, name = path[len(root) + 1 :].split("/")
        here = os.dup(self._roots[root])
        for part in parents:
            above = here
            try:
                here = os.open(part, _DIRECTORY_FLAGS, dir_fd=above)
            finally:
                os.close(above)
        return here, name

    def _remove(self, path: str) -> None:
        try:
            directory, name = self._parent(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            _remove_all(directory, name)
            if self._is_over_another(path):
                os.mknod(name, stat.S_IFCHR, dir_fd=directory)  # tells an overlay that what lies below is gone
        finally:
            os.close(directory)

    def _is_over_another(self, path: str) -> bool:
        """Whether something of the machine's own would come to light if nothing stood at this path."""
        return os.path.dirname(path) in self._layered and os.path.lexists(path)

    def _make(self, path: str, inode: int, state: State, made: Mapping[int, str]) -> None:
        node = self._nodes[inode]
        directory, name = self._parent(path)
        try:
            if self._is_over_another(path):
                _remove_all(directory, name)
            if node.kind == DIRECTORY:
                os.mkdir(name, node.mode or 0o755, dir_fd=directory)
                _give(directory, name, node)
            elif node.kind == SYMLINK:
                os.symlink(node.target, name, dir_fd=directory)
                _give(directory, name, node)
            elif node.kind == FILE and inode in made:
                first, first_name = self._parent(made[inode])
                try:
                    _remove_all(directory, name)
                    os.link(first_name, name, src_dir_fd=first, dst_dir_fd=directory, follow_symlinks=False)
                finally:
                    os.close(first)
            elif node.kind == FILE:
                _write(directory, name, self._contents.content(inode, state.mask, state.garbage), node)
        finally:
            os.close(directory)


def _give(directory: int, name: str, node: Node) -> None:
    """Let it belong to whom it belonged: a service that root starts gives up root, and could not use what is ours.

    What did not live long enough to be looked at is taken to belong to whom its directory belongs to.
    """
    if os.geteuid() == 0:
        held = os.fstat(directory)
        user, group = node.owner or (held.st_uid, held.st_gid)
        if (user, group) != (0, 0):
            os.chown(name, user, group, dir_fd=directory, follow_symlinks=False)


def _write(directory: int, name: str, data: bytes, node: Node) -> None:
    """A file of its own with these bytes: never through an existing one, which may have another name too."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        _give(directory, name, node)
        os.fchmod(descriptor, node.mode or 0o644)
        built_ns = time.time_ns() - PAST_NS
        os.utime(descriptor, ns=(built_ns, built_ns))
    finally:
        os.close(descriptor)


def _remove_all(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    here = os.open(name, _DIRECTORY_FLAGS, dir_fd=directory)
    try:
        for entry in os.listdir(here):
            _remove_all(here, entry)
    finally:
        os.close(here)
    os.rmdir(name, dir_fd=directory)
