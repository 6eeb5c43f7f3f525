"""The tree of files as the recording sees it: what each path led to at each moment, without asking the disk.

The gate sees a call before the kernel does it and never learns its result, so the tree says it: a rename of what is
not there has failed, an exclusive creation of what is there too. Whether the tree was right is proved at the end by
comparing it with the real directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

FILE, DIRECTORY, SYMLINK, OTHER = "file", "directory", "link", "other"
DELETED = " (deleted)"
_LINKS_MAX = 40
Owner = tuple[int, int]


@dataclass(frozen=True, slots=True)
class StartEntry:
    """One entry of the start state: path as the target sees it, source: where its bytes can be read from, owner: its
    user and group, where that is known."""

    path: str
    kind: str
    size: int = 0
    mode: int = 0o644
    target: str = ""
    source: str = ""
    identity: int = 0
    owner: Owner | None = None


@dataclass(slots=True)
class Node:
    """One inode. allocated: up to where it has blocks; was_emptied: cut to nothing while it held something."""

    number: int
    kind: str
    size: int = 0
    mode: int = 0
    target: str = ""
    source: str = ""
    allocated: int = 0
    was_emptied: bool = False
    owner: Owner | None = None
    entries: dict[str, int] = field(default_factory=dict)


def scan(roots: Mapping[str, str]) -> list[StartEntry]:
    """All entries below these directories (target path -> where it stands for us), parents first; of a directory that
    lies inside another of them only once.
    """
    found: list[StartEntry] = []
    for path, place in roots.items():
        info = os.stat(place)
        found.append(StartEntry(path=path, kind=DIRECTORY, mode=0o755, owner=(info.st_uid, info.st_gid)))
        found.extend(_scan(path, place, roots))
    return found


def _scan(path: str, place: str, roots: Mapping[str, str]) -> Iterator[StartEntry]:
    with os.scandir(place) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        entry = None if f"{path}/{name}" in roots else look(f"{path}/{name}", f"{place}/{name}")
        if entry is not None:
            yield entry
            if entry.kind == DIRECTORY:
                yield from _scan(entry.path, f"{place}/{name}", roots)


def look(path: str, place: str) -> StartEntry | None:
    """What the target sees at `path` and stands for us at `place`; None if an upper layer says that it is gone.

    Raises FileNotFoundError where nothing stands.
    """
    info = os.lstat(place)
    if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
        return None
    kind = _kind(info.st_mode)
    return StartEntry(
        path=path,
        kind=kind,
        size=info.st_size if kind == FILE else 0,
        mode=stat.S_IMODE(info.st_mode),
        target=os.readlink(place) if kind == SYMLINK else "",
        source=place if kind == FILE else "",
        identity=info.st_ino if info.st_nlink > 1 and kind == FILE else 0,
        owner=(info.st_uid, info.st_gid),
    )


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return FILE
    return DIRECTORY if stat.S_ISDIR(mode) else SYMLINK if stat.S_ISLNK(mode) else OTHER


class Tree:
    """All inodes ever seen, and the entries as they are now."""

    def __init__(self, start: list[StartEntry], block_bytes: int = 4096) -> None:
        self.nodes: list[Node] = []
        self.roots: dict[str, int] = {}
        self._block_bytes = block_bytes
        self._ghosts: dict[str, int] = {}
        self._identities: dict[int, int] = {}
        for entry in start:
            self.add(entry)

    def add(self, entry: StartEntry) -> None:
        """What stood there at the start; a root, if it lies in none."""
        place, identities = self.place(entry.path), self._identities
        if place is None:
            self.roots[entry.path] = self.new(DIRECTORY).number
            return
        directory, name = place
        if entry.identity and entry.identity in identities:
            self.nodes[directory].entries[name] = identities[entry.identity]
            return
        node = self.new(entry.kind, size=entry.size, mode=entry.mode, target=entry.target, source=entry.source)
        node.owner = entry.owner
        self.nodes[directory].entries[name] = node.number
        if entry.identity:
            identities[entry.identity] = node.number

    def new(self, kind: str, *, size: int = 0, mode: int = 0, target: str = "", source: str = "") -> Node:
        """A new inode, in no directory yet."""
        node = Node(len(self.nodes), kind, size, mode, target, source)
        node.allocated = self.rounded(size)
        self.nodes.append(node)
        return node

    def rounded(self, size: int) -> int:
        """The size in whole blocks."""
        return -(-size // self._block_bytes) * self._block_bytes

    def covers(self, path: str) -> bool:
        """Whether the path lies below a root."""
        return any(path == root or path.startswith(root + "/") for root in self.roots)

    def place(self, path: str) -> tuple[int, str] | None:
        """(directory, name) of a path whose parent exists; None for roots and what lies elsewhere."""
        for root, number in self.roots.items():
            if path.startswith(root + "/"):
                *parents, name = path[len(root) + 1 :].split("/")
                for part in parents:
                    found = self.nodes[number].entries.get(part)
                    if found is None or self.nodes[found].kind != DIRECTORY:
                        return None
                    number = found
                return number, name
        return None

    def node(self, path: str) -> Node | None:
        """What the path leads to, a link not being followed; a deleted file that is still open too."""
        number = self.roots.get(path)
        if number is None:
            place = self.place(path)
            number = self.nodes[place[0]].entries.get(place[1]) if place else None
        if number is None:
            number = self._ghosts.get(path)
            if number is None and path.endswith(DELETED) and self.covers(path):
                number = self._ghosts.get(path.removesuffix(DELETED))
                if number is None:  # made without a name
                    number = self._ghosts[path] = self.new(FILE).number
            elif not path.endswith(DELETED):
                number = None
        return None if number is None else self.nodes[number]

    def followed(self, path: str) -> str:
        """The path with a link at its end followed."""
        for _ in range(_LINKS_MAX):
            node = self.node(path)
            if node is None or node.kind != SYMLINK:
                break
            path = os.path.normpath(os.path.join(os.path.dirname(path), node.target))
        return path

    def link(self, directory: int, name: str, inode: int) -> None:
        """Let an entry lead to this inode."""
        self.nodes[directory].entries[name] = inode

    def unlink(self, directory: int, name: str, path: str) -> None:
        """Remove an entry; whoever has the file open still writes to it."""
        self.remember(path, self.nodes[directory].entries.pop(name))

    def remember(self, path: str, inode: int) -> None:
        """The file at this path is about to lose it."""
        self._ghosts[path] = inode
