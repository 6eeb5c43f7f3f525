"""Files that a power cut, a worn-out card or an operator broke.

Each fault is a context manager over one file. It proves itself: the file is there and whole before, and broken after,
or `NotArmable`. At the end the good file is put back, unless the program has written a new one meanwhile; also if the
process of the test dies.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blackstart.core.randomness import Seed
from blackstart.inprocess import rescue
from blackstart.inprocess.capabilities import without_overrides
from blackstart.inprocess.errors import NotArmable


@contextmanager
def truncated(path: str | Path, size: int | None = None) -> Iterator[Path]:
    """The file ends after `size` bytes (half of it if None), as after a power cut in the middle of a write."""
    content = good(path)
    wanted = len(content) // 2 if size is None else size
    if not 0 <= wanted < len(content):
        raise NotArmable(f"{path} has {len(content)} bytes and cannot be cut to {wanted}")
    with _replaced(Path(path), content[:wanted]):
        yield Path(path)


@contextmanager
def empty(path: str | Path) -> Iterator[Path]:
    """The file has no bytes, as after a power cut at the start of a write."""
    with truncated(path, 0):
        yield Path(path)


@contextmanager
def garbage(path: str | Path, seed: int | Seed = 0) -> Iterator[Path]:
    """The file has as many bytes as before (at least 16), all random, as from a failing card."""
    source = (seed if isinstance(seed, Seed) else Seed(seed)).source("garbage", str(Path(path).name))
    with _replaced(Path(path), source.randbytes(max(16, len(good(path))))):
        yield Path(path)


@contextmanager
def overwritten(path: str | Path, content: bytes) -> Iterator[Path]:
    """The file has this content."""
    with _replaced(Path(path), content):
        yield Path(path)


@contextmanager
def missing(path: str | Path) -> Iterator[Path]:
    """The file is not there."""
    with _replaced(Path(path), None):
        yield Path(path)


@contextmanager
def unreadable(path: str | Path) -> Iterator[Path]:
    """The file may not be read by the calling thread, root's included; children of root may (use `target` for them)."""
    with _forbidden(Path(path), 0o000, os.O_RDONLY):
        yield Path(path)


@contextmanager
def read_only(path: str | Path) -> Iterator[Path]:
    """The file may not be written, or nothing may be made or removed in the directory; bites as `unreadable` does."""
    with _forbidden(Path(path), 0o555 if Path(path).is_dir() else 0o444, os.O_WRONLY):
        yield Path(path)


def good(path: str | Path) -> bytes:
    """The content before the damage; NotArmable if there is none, for then no content could be broken."""
    content = _there(path)
    if not content:
        raise NotArmable(
            f"{path} is empty already, so breaking its content would prove nothing",
            next_step="let the program write it first, or break it with files.missing or files.overwritten",
        )
    return content


def _there(path: str | Path) -> bytes:
    """The content, perhaps none: of a lock or a marker it is the file that counts."""
    if not Path(path).is_file():
        raise NotArmable(f"{path} is no file, so it cannot be broken", next_step="let the program write it first")
    return Path(path).read_bytes()


@contextmanager
def _replaced(path: Path, content: bytes | None) -> Iterator[None]:
    """The file with this content, or none; of a link the file that it leads to."""
    path = Path(os.path.realpath(path))  # the program may change its directory meanwhile
    before = _there(path)
    status = path.stat()
    if content == before:
        raise NotArmable(f"{path} would be as it was")
    with rescue.of_content(path, content):
        try:
            try:
                if content is None:
                    path.unlink()
                else:
                    path.write_bytes(content)
            except PermissionError as error:
                step = "this user may not write there; run the test as its owner"
                raise NotArmable(f"{path} cannot be broken: {error.strerror}", next_step=step) from None
            yield
        finally:
            now = path.read_bytes() if path.is_file() else None
            if now == content and not path.is_dir():
                path.write_bytes(before)
                if content is None:
                    _give_back(path, status)
                os.chmod(path, stat.S_IMODE(status.st_mode))
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _give_back(path: Path, status: os.stat_result) -> None:
    """A file that was made anew belongs to whom it belonged to, where this process may say so."""
    with suppress(PermissionError):
        os.chown(path, status.st_uid, status.st_gid)


@contextmanager
def _forbidden(path: Path, mode: int, access: int) -> Iterator[None]:
    path = Path(os.path.realpath(path))
    if not path.exists():
        raise NotArmable(f"{path} is not there, so it cannot be forbidden")
    before = stat.S_IMODE(path.stat().st_mode)
    with rescue.of_mode(path, mode, before), without_overrides():
        try:
            path.chmod(mode)
            if _allows(path, access):
                raise NotArmable(f"{path} can still be used: its file system does not keep permissions")
            yield
        finally:
            if path.exists() and stat.S_IMODE(path.stat().st_mode) == mode:
                path.chmod(before)


def _allows(path: Path, access: int) -> bool:
    if path.is_dir():
        return os.access(path, os.W_OK if access == os.O_WRONLY else os.R_OK, effective_ids=True)
    try:
        os.close(os.open(path, access))
    except PermissionError:
        return False
    return True
