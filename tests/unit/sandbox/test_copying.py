"""A copy loses nothing a program could notice, and says what it could not keep."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from blackstart.sandbox.copying import Copier, Report, TooMuch, copy_tree, remove_tree


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    return made


def copied(source: Path, *, limit_bytes: int = 1 << 30, omit: frozenset[str] = frozenset()) -> tuple[Path, Report]:
    copier = Copier(limit_bytes=limit_bytes, omit=omit)
    target = source.with_name("target")
    copy_tree(str(source), str(target), "/there", copier)
    return target, copier.report


def test_modes_times_links_and_odd_kinds_are_kept(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "file").write_text("content")
    os.link(source / "file", source / "again")
    (source / "file").chmod(0o4751)
    os.utime(source / "file", ns=(1, 1_234_567_890_123_456_789))
    (source / "link").symlink_to("no/where")
    os.mkfifo(source / "pipe", 0o620)
    monkeypatch.chdir(source)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    (source / "inner").mkdir(0o2711)
    os.utime(source / "inner", ns=(5, 5))
    target, report = copied(source)
    assert (target / "file").read_text() == "content"
    assert (target / "file").stat().st_ino == (target / "again").stat().st_ino
    assert (target / "file").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert os.readlink(target / "link") == "no/where"
    for name in ("file", "pipe", "socket", "inner"):
        assert (target / name).lstat().st_mode == (source / name).lstat().st_mode
    assert (target / "inner").stat().st_mtime_ns == 5
    assert (report.files, report.bytes) == (6, 7)


def test_holes_stay_holes_and_count_for_nothing(source: Path) -> None:
    with open(source / "sparse", "wb") as sparse:
        sparse.truncate(1 << 40)
        sparse.seek(1 << 39)
        sparse.write(b"data")
    target, report = copied(source, limit_bytes=1 << 20)
    info = (target / "sparse").stat()
    assert info.st_size == 1 << 40
    assert info.st_blocks * 512 < 1 << 20
    with open(target / "sparse", "rb") as sparse:
        sparse.seek(1 << 39)
        assert sparse.read(5) == b"data\0"
    assert report.bytes < 1 << 20


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 1 << 18, (1 << 18) + 1, 3 << 18])
def test_any_size_is_copied_whole(source: Path, size: int) -> None:
    data = os.urandom(size)
    (source / "file").write_bytes(data)
    target, report = copied(source)
    assert (target / "file").read_bytes() == data
    assert report.bytes == size


def test_what_is_omitted_is_absent(source: Path) -> None:
    (source / "kept").mkdir()
    (source / "kept" / "omitted").mkdir()
    (source / "omitted").write_text("x")
    target, _ = copied(source, omit=frozenset(("/there/kept/omitted",)))
    assert sorted(p.name for p in target.rglob("*")) == ["kept", "omitted"]


def test_more_than_the_limit_is_refused(source: Path) -> None:
    (source / "one").write_bytes(bytes(range(256)) * 4096)
    with pytest.raises(TooMuch, match="more than 0 MB"):
        copied(source, limit_bytes=1 << 19)


def test_a_tree_too_deep_is_refused_and_can_be_removed(source: Path) -> None:
    here = os.getcwd()
    os.chdir(source)
    for _ in range(300):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(here)
    with pytest.raises(TooMuch, match="nested"):
        copied(source)
    parent = os.open(source.parent, os.O_RDONLY)
    remove_tree(parent, "source")
    assert not source.exists()


def test_what_may_not_be_read_is_there_but_closed(source: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("needs an ordinary user: root reads everything")
    (source / "secret").write_text("x")
    (source / "secret").chmod(0)
    (source / "shut").mkdir(0)
    target, report = copied(source)
    assert sorted(report.unreadable) == ["/there/secret", "/there/shut"]
    assert stat.S_IMODE((target / "secret").stat().st_mode) == 0
    (source / "shut").chmod(0o700)


def test_removing_follows_no_link(source: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (source / "out").symlink_to(tmp_path)
    (source / "file").symlink_to(tmp_path / "precious")
    parent = os.open(tmp_path, os.O_RDONLY)
    remove_tree(parent, "source")
    remove_tree(parent, "absent")
    assert sorted(os.listdir(tmp_path)) == ["precious"]
