"""The values that this room takes and gives."""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.sandbox.plan import below

LIMIT_BYTES = 256 << 20


class Layout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the target's world is made of, as absolute paths of the host.

    copies: state directories, plain copies in memory; made: state that does not exist on the host, in a directory too
    large to be copied (files or directories, which stand wholly in an overlay's upper layer); overlays: directories
    with an overlay of their own (only such a one can be written by an ordinary user below a directory that is not its
    own); omit: neither copied nor visible; opened: sockets and devices of the host that are let in by name; umask,
    hostname: pinned.
    `Layout.of` resolves and orders paths; the constructor takes them as they are.
    """

    cwd: str
    home: str
    copies: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    overlays: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()
    hostname: str = "blackstart"
    umask: int = 0o022

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories in which the state lies, whole or in part; those inside of others first."""
        layered = {os.path.dirname(path) for path in self.made} - set(self.copies)
        return (*self.copies, *sorted(layered, key=_depth, reverse=True))

    def is_layered(self, directory: str) -> bool:
        """Whether of this directory of the state only some entries are, which stand in an upper layer."""
        return directory not in self.copies

    @classmethod
    def of(
        cls,
        *,
        cwd: str,
        home: str,
        copies: Iterable[str] = (),
        made: Iterable[str] = (),
        overlays: Iterable[str] = (),
        omit: Iterable[str] = (),
        opened: Iterable[str] = (),
        hostname: str = "blackstart",
        umask: int = 0o022,
    ) -> Layout:
        """A layout with links resolved, parents before children, nested copies dropped, cwd and home as overlays."""
        own = [cwd, home, *overlays]
        states = [_state_directory(p) for p in copies]
        kept = outermost(states)
        layers = {os.path.realpath(p) for p in own if os.path.isdir(p)} - {"/"}
        return cls(
            cwd=os.path.realpath(cwd),
            home=home,
            copies=kept,
            made=tuple(path for path in outermost(made) if not below(path, kept)),
            overlays=tuple(sorted((p for p in layers if not below(p, kept)), key=_depth)),
            omit=tuple(sorted({os.path.realpath(p) for p in omit})),
            opened=tuple(sorted({os.path.realpath(p) for p in opened})),
            hostname=hostname,
            umask=umask,
        )


def _depth(path: str) -> list[str]:
    return path.split("/")


def _state_directory(path: str) -> str:
    resolved = os.path.realpath(path)
    if not os.path.isdir(resolved):
        raise BlackstartError(
            "a state directory is no directory", where=path, next_step="name the directory in which the state lies"
        )
    made_anew = below(resolved, ("/proc", "/sys", "/dev"))
    if made_anew or resolved in ("/", "/tmp", "/var/tmp", "/run"):
        step = "keep the state elsewhere: each trial makes this anew" if made_anew else "name a directory inside it"
        raise BlackstartError("this directory cannot be a state directory", where=resolved, next_step=step)
    return resolved


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """These directories without those that lie in another of them."""
    kept: list[str] = []
    for path in sorted(set(paths), key=_depth):
        if not below(path, kept):
            kept.append(path)
    return tuple(kept)


class Captured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a copy took: entries and allocated bytes; and the first paths of what it could not keep.

    foreign: the owner could not be kept; unreadable: this user may not read them (they are there, empty, mode 0);
    skipped: devices.
    """

    files: int = 0
    bytes: int = 0
    foreign: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file of an image; kind is file, directory, link, socket, fifo or other; mode: permission bits;
    modified_ns: since 1970, kept by copies.
    """

    path: str
    kind: str
    size: int = 0
    mode: int = 0
    links: int = 1
    target: str = ""
    modified_ns: int = 0


class Apart(msgspec.Struct, frozen=True, kw_only=True):
    """How the copies of an image differ from those of `first`, from which all of its family stem; entries: what is
    other or new there, and all that is no copy; gone: what is no more."""

    first: str
    family: int
    entries: list[Entry]
    gone: list[str]


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One difference from the host outside the copies; change is created, modified or deleted; kind as in Entry."""

    path: str
    change: str
    kind: str = "file"


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A program that runs: its process id as seen from outside, the listener of its gate; number: of this start."""

    pid: int
    listener: int | None = None
    number: int = 0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The main process ended: status as wait gives it."""

    pid: int
    status: int


class ProcessInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process of the sandbox: pid inside, outer_pid outside; state is the kernel's letter; cpu_s: used so far."""

    pid: int
    outer_pid: int
    command: str = ""
    state: str = ""
    threads: int = 1
    descriptors: int = 0
    cpu_s: float = 0.0
