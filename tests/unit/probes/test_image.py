"""Images are read through their owner, each content once, and never changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from blackstart.core.reading import FileState
from blackstart.probes import Prober
from blackstart.probes.image import Apart


class Folder:
    """An owner of one image: a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.opened = 0

    def walk(self, name: str) -> Iterator[FileState]:
        for path in sorted(self.root.rglob("*")):
            status = path.lstat()
            kind = (
                "link" if path.is_symlink() else "directory" if path.is_dir() else "file" if path.is_file() else "fifo"
            )
            target = os.readlink(path) if path.is_symlink() else ""
            yield FileState(path=f"/{path.relative_to(self.root)}", kind=kind, size=status.st_size, target=target)

    def apart(self, name: str) -> Apart | None:
        return None

    def open_in(self, name: str, target_path: str, flags: int) -> int:
        self.opened += 1
        return os.open(self.root / target_path.lstrip("/"), flags | os.O_NOFOLLOW)

    def open_each(self, name: str, paths: Sequence[str], flags: int) -> Iterator[tuple[str, int]]:
        for path in paths:
            try:
                yield path, self.open_in(name, path, flags)
            except OSError:
                yield path, -1


def test_every_entry_is_listed_and_files_have_contents(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/n.json").write_text('{"a": 1}')
    (tmp_path / "link").symlink_to("sub/n.json")
    os.mkfifo(tmp_path / "fifo")
    image = Prober(Folder(tmp_path)).image("S0")
    assert {path: state.kind for path, state in image.items()} == {
        "/sub": "directory", "/sub/n.json": "file", "/link": "link", "/fifo": "fifo",
    }  # fmt: skip
    content = image["/sub/n.json"].content
    assert content is not None and content.leaves == (("/a", "1"),)
    assert image["/link"].content is None and image["/link"].target == "sub/n.json"


def test_one_path_is_read_like_the_whole_image(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("a\n")
    prober = Prober(Folder(tmp_path))
    state = prober.state("S0", "/n.txt")
    assert state is not None and state.content == prober.image("S0")["/n.txt"].content
    assert prober.state("S0", "/missing") is None
    (tmp_path / "link").symlink_to("n.txt")
    link = prober.state("S0", "/link")
    assert link is not None and (link.kind, link.target) == ("link", "n.txt")


def test_a_database_is_read_with_its_companions_and_left_as_it_is(tmp_path: Path) -> None:
    writer = sqlite3.connect(tmp_path / "n.db", isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE notes (title)")
    writer.execute("INSERT INTO notes VALUES ('x')")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    state = Prober(Folder(tmp_path)).image("S0")["/n.db"]
    assert state.content is not None and ("notes/1/title", "'x'") in state.content.leaves
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    writer.close()


def test_equal_contents_are_parsed_once(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}.json").write_text('{"a": 1}')
    prober = Prober(Folder(tmp_path))
    contents = {id(state.content) for state in prober.image("S0").values()}
    assert len(contents) == 1


def test_a_huge_sparse_file_costs_nothing(tmp_path: Path) -> None:
    with open(tmp_path / "big", "wb") as file:
        file.truncate(5 << 30)
    prober = Prober(Folder(tmp_path))
    empty = prober.image("S0")["/big"]
    with open(tmp_path / "big", "r+b") as file:
        file.seek(3 << 30)
        file.write(b"x")
    filled = prober.image("S0")["/big"]
    assert empty.size == filled.size == 5 << 30
    assert empty.digest and empty.digest != filled.digest
    assert empty.content is not None and empty.content.form == ""


def test_what_cannot_be_opened_is_listed_without_content(tmp_path: Path) -> None:
    class Closed(Folder):
        def open_in(self, name: str, target_path: str, flags: int) -> int:
            raise PermissionError(13, "no")

    (tmp_path / "n.txt").write_text("a\n")
    state = Prober(Closed(tmp_path)).image("S0")["/n.txt"]
    assert (state.digest, state.content, state.size) == ("", None, 2)
