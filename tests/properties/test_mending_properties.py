"""An image mended into another is equal to it, whatever was done to either, and no change escapes its marks.

Images are plain directories here: nothing of this needs a namespace.
"""

from __future__ import annotations

import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from blackstart.sandbox.copying import Copier, copy_tree
from blackstart.sandbox.families import Kin
from blackstart.sandbox.marks import settle
from blackstart.sandbox.mending import CannotMend, mend

NAMES = ["a", "b", "d", "d/a", "d/b", "d-b", "d/e", "d/e/a", "d/e/b", "f", "f/a"]
PATHS = st.sampled_from(NAMES)
ACTS = st.one_of(
    st.tuples(st.sampled_from(["write", "store", "chmod", "remove", "mkdir", "again"]), PATHS, PATHS),
    st.tuples(st.sampled_from(["rename", "link", "symlink"]), PATHS, PATHS),
)
HISTORIES = st.lists(ACTS, max_size=8)


def act(top: Path, what: str, path: Path, other: Path) -> None:
    """One of the things that a program does to its files; what cannot be done is not."""
    if what == "write":
        path.write_bytes(b"written " + os.fsencode(other.name))
    elif what == "store":
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[0:1] = b"S"
    elif what == "chmod":
        path.chmod(0o700 if path.stat().st_mode & 0o050 else 0o755)
    elif what == "remove":
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    elif what == "mkdir":
        path.mkdir()
    elif what == "again":  # the same bytes, with the time that they had
        info, data = path.stat(), path.read_bytes()
        path.write_bytes(data[::-1])
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    elif what == "rename":
        path.rename(other)
    elif what == "link":
        os.link(path, other)
    else:
        path.symlink_to(other.name)  # within this image


def happen(image: Path, history: list[tuple[str, str, str]]) -> None:
    top = image / "copy/0"
    for what, path, other in history:
        with suppress(OSError, ValueError, shutil.SameFileError):
            act(top, what, top / path, top / other)
    settle()


def seen(image: Path) -> dict[str, tuple[object, ...]]:
    """All of an image that a program could notice, less when it was last read."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[int, str] = {}
    for path in sorted(image.rglob("*")):
        info = path.lstat()
        name = str(path.relative_to(image))
        inside = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        target = os.readlink(path) if path.is_symlink() else ""
        size = 0 if stat.S_ISDIR(info.st_mode) else info.st_size
        one = first.setdefault(info.st_ino, name)
        found[name] = (info.st_mode, size, info.st_mtime_ns, inside, target, one)
    return found


def copied(source: Path, target: Path) -> None:
    target.mkdir()
    copy_tree(str(source / "copy"), str(target / "copy"), "copy", Copier(limit_bytes=1 << 20, from_image=True))


@contextmanager
def opened(place: Path) -> Iterator[int]:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def joined(kin: Kin, source: Path, target: Path) -> Kin:
    """The kin of a fresh copy."""
    with opened(source) as old:
        theirs = kin.differing(old)
    copied(source, target)
    with opened(target) as new:
        return kin.of_copy(new, theirs)


def mended(source: Path, known: Kin, target: Path, kin: Kin) -> bool:
    assert kin.marks is not None
    with opened(source) as old, opened(target) as new:
        try:
            copier = Copier(limit_bytes=1 << 20, from_image=True)
            mend(old, known.differing(old), new, kin.differing(new), kin.marks, copier)
        except CannotMend:
            return False
    settle()
    return True


def differs_from(first: Path, image: Path, kin: Kin) -> None:
    """Whatever is not as in the first is known to differ."""
    with opened(image) as top:
        known = kin.differing(top)
    before, now = seen(first), seen(image)
    for name in before.keys() | now.keys():
        if before.get(name, ())[:5] != now.get(name, ())[:5]:
            parents = {name, *(str(parent) for parent in Path(name).parents)}
            assert parents & known, (name, known)


@settings(max_examples=150, deadline=None)
@example([("mkdir", "f", "a")], [("rename", "f", "d/b")], [], [("rename", "d", "f")])
@example([("link", "a", "d/b")], [], [], [("rename", "d", "d-b")])
@example([("symlink", "d/b", "a"), ("link", "d/b", "d/e/b")], [], [], [])
@given(HISTORIES, HISTORIES, HISTORIES, HISTORIES)
def test_an_image_mended_into_another_is_equal_to_it(
    before: list[tuple[str, str, str]],
    of_one: list[tuple[str, str, str]],
    of_other: list[tuple[str, str, str]],
    later: list[tuple[str, str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        first, one, other = (Path(place, name) for name in ("first", "one", "other"))
        (first / "copy/0/d/e").mkdir(parents=True)
        for name in ("a", "d/a", "d/e/a", "b"):
            (first / "copy/0" / name).write_text(name)
        happen(first, before)
        root = Kin(1, None)
        of_first = joined(root, first, one)
        assert seen(one) == seen(first)
        happen(one, of_one)
        differs_from(first, one, of_first)
        kin = joined(of_first, one, other)  # a copy of a copy that changed
        differs_from(first, other, kin)
        happen(other, of_other)
        differs_from(first, other, kin)
        if mended(one, of_first, other, kin):
            assert seen(other) == seen(one)
            differs_from(first, other, kin)
            happen(other, later)
            differs_from(first, other, kin)
            if mended(first, root, other, kin):
                assert seen(other) == seen(first)
                differs_from(first, other, kin)
