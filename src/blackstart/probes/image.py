"""An image of the state directories as a value: every entry, and the content of every file.

What stands there is read once per digest: most files are equal in most trials, and ten thousand of them must not
cost a parse each. Where the owner can tell how an image differs from one that was read before, only that is looked at.
Files are opened by the image's owner without following links; a file that cannot be opened is
listed without content. Sparse files are read where they hold data.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Protocol

from blackstart.core.reading import Content, FileState, Image
from blackstart.probes.content import SQLITE_BYTES, read
from blackstart.probes.sqlite import COMPANIONS, HEADER, super_journal

MANY_ENTRIES = 200
READING = os.O_RDONLY | os.O_NONBLOCK
_CHUNK_BYTES = 1 << 20
_DIGESTED_BYTES = 256 << 20


class Entry(Protocol):
    """One directory entry of an image, as its owner lists it."""

    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def mode(self) -> int: ...
    @property
    def links(self) -> int: ...
    @property
    def target(self) -> str: ...


class Listed(Entry, Protocol):
    """An entry as a whole listing gives it; modified_ns: since 1970."""

    @property
    def modified_ns(self) -> int: ...


class Apart(Protocol):
    """How an image differs from the image `first`, from which all of its family stem: entries that are other or new, or
    no part of a copy, and paths that are gone."""

    @property
    def first(self) -> str: ...
    @property
    def family(self) -> int: ...
    @property
    def entries(self) -> Sequence[Listed]: ...
    @property
    def gone(self) -> Sequence[str]: ...


class Images(Protocol):
    """Who owns the images: lists one and opens its files, never following links."""

    def walk(self, name: str) -> Iterable[Listed]: ...
    def apart(self, name: str) -> Apart | None: ...
    def open_in(self, name: str, target_path: str, flags: int) -> int: ...
    def open_each(self, name: str, paths: Sequence[str], flags: int) -> Iterator[tuple[str, int]]: ...


class Prober:
    """Reads images and single files, remembering each content by its digest."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._contents: dict[tuple[str, ...], Content] = {}
        self._unchanged: dict[tuple[str, int, int, int, int], FileState] = {}
        self._firsts: dict[int, Image] = {}

    def image(self, name: str) -> Image:
        """All entries of the image with their contents.

        In an image of many files those of which nothing about the entry has changed, not even by a nanosecond, are not
        read again; databases always are, since their companions belong to them.
        """
        apart = self._images.apart(name)
        if apart is None:
            return self._looked_at(name, list(self._images.walk(name)), {})
        if apart.family not in self._firsts:
            self._firsts[apart.family] = self._looked_at(apart.first, list(self._images.walk(apart.first)), {})
        states = dict(self._firsts[apart.family])
        for path in apart.gone:
            states.pop(path, None)
        return self._looked_at(name, apart.entries, states)

    def _looked_at(self, name: str, entries: Sequence[Listed], states: Image) -> Image:
        """These entries as states, beside those that are known."""
        is_large = len(entries) + len(states) > MANY_ENTRIES
        unread: dict[str, Entry] = {path: state for path, state in states.items() if _is_database(state)}
        for entry in entries:
            known = self._unchanged.get(_key(entry)) if is_large else None
            states[entry.path] = known or _listed(entry)
            if entry.kind == "file" and known is None:
                unread[entry.path] = entry
        keys = {entry.path: _key(entry) for entry in entries} if is_large else {}
        for path, descriptor in self._images.open_each(name, tuple(unread), READING):
            state = states[path] = self._read(name, unread[path], descriptor, states)
            if path in keys and state.content is not None and not _is_database(state):
                self._unchanged[keys[path]] = state
        return states

    def state(self, name: str, path: str) -> FileState | None:
        """One path of an image; None where nothing stands."""
        try:
            descriptor = self._images.open_in(name, path, READING)
        except FileNotFoundError:
            return None
        except OSError:
            return self._link(name, path)
        status = os.fstat(descriptor)
        kind = "file" if stat.S_ISREG(status.st_mode) else "directory" if stat.S_ISDIR(status.st_mode) else "other"
        entry = FileState(
            path=path, kind=kind, size=status.st_size, mode=stat.S_IMODE(status.st_mode), links=status.st_nlink
        )
        if kind != "file":
            os.close(descriptor)
            return entry
        return self._read(name, entry, descriptor, None)

    def _link(self, name: str, path: str) -> FileState:
        """What cannot be opened: a link with its target, or something else."""
        try:
            descriptor = self._images.open_in(name, path, os.O_PATH)
        except OSError:
            return FileState(path=path, kind="other")
        try:
            return FileState(path=path, kind="link", target=os.readlink("", dir_fd=descriptor))
        except OSError:
            return FileState(path=path, kind="other")
        finally:
            os.close(descriptor)

    def _read(self, name: str, entry: Entry, descriptor: int, present: Container[str] | None) -> FileState:
        """A file with its content; closes the descriptor, -1 being a file that cannot be opened."""
        data, digest = _bytes(descriptor)
        content = None if data is None else self._content(name, entry.path, data, digest, present)
        if data is None and digest:
            content = Content(form="", digest=digest)
        return FileState(
            path=entry.path, kind=entry.kind, size=entry.size, mode=entry.mode, links=entry.links,
            target=entry.target, digest=digest, content=content,
        )  # fmt: skip

    def _content(self, name: str, path: str, data: bytes, digest: str, present: Container[str] | None) -> Content:
        companions: dict[str, bytes] = {}
        if data.startswith(HEADER):
            companions = self._companions(name, path, present)
        suffix = os.path.splitext(path)[1]
        marks = (hashlib.sha256(value).hexdigest() for value in companions.values())
        key = (digest, suffix, *companions, *marks)
        if key not in self._contents:
            self._contents[key] = read(data, path, companions)
        return self._contents[key]

    def _companions(self, name: str, path: str, present: Container[str] | None) -> dict[str, bytes]:
        found = {}
        for suffix in COMPANIONS[:2]:
            if present is None or path + suffix in present:
                data, _ = self._named(name, path + suffix)
                if data:
                    found[suffix] = data
        above = super_journal(found.get("-journal", b""))
        if above and self._named(name, above)[1]:
            found["super"] = b""
        return found

    def _named(self, name: str, path: str) -> tuple[bytes | None, str]:
        try:
            return _bytes(self._images.open_in(name, path, READING))
        except OSError:
            return None, ""


def _is_database(state: FileState) -> bool:
    """Whether other files belong to its content."""
    return state.content is not None and state.content.form == "sqlite"


def _key(entry: Listed) -> tuple[str, int, int, int, int]:
    return (entry.path, entry.size, entry.modified_ns, entry.mode, entry.links)


def _listed(entry: Entry) -> FileState:
    """What the listing alone tells."""
    return FileState(
        path=entry.path, kind=entry.kind, size=entry.size, mode=entry.mode, links=entry.links, target=entry.target
    )


def _bytes(descriptor: int) -> tuple[bytes | None, str]:
    """The bytes (None if too many to parse) and their digest (`` if they cannot be read); closes the descriptor."""
    if descriptor < 0:
        return None, ""
    try:
        size = os.fstat(descriptor).st_size
        if size <= SQLITE_BYTES:
            data = b"".join(_chunks(descriptor, 0, size))
            return data, hashlib.sha256(data).hexdigest()[:32]
        return None, _digest_of_large(descriptor, size)
    except OSError:
        return None, ""
    finally:
        os.close(descriptor)


def _chunks(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        piece = os.pread(descriptor, min(_CHUNK_BYTES, end - start), start)
        if not piece:
            return
        yield piece
        start += len(piece)


def _digest_of_large(descriptor: int, size: int) -> str:
    """A digest over size and data extents, at most so many bytes of them: holes cost nothing."""
    hasher, at, left = hashlib.sha256(str(size).encode()), 0, _DIGESTED_BYTES
    while at < size and left > 0:
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole until the end
            break
        end = min(os.lseek(descriptor, at, os.SEEK_HOLE), at + left)
        hasher.update(f"@{at}".encode())
        for piece in _chunks(descriptor, at, end):
            hasher.update(piece)
        left -= end - at
        at = end
    return "large:" + hasher.hexdigest()[:32]
