"""An archive is the same for the same content, and nothing in it leads out, whoever made the files."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from blackstart.report.archive import Archive, contained_target, safe_name


def packed(archive: Archive) -> bytes:
    file = io.BytesIO()
    archive.write(file)
    return file.getvalue()


def listed(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


def some_tree(place: Path) -> Path:
    (place / "w" / "sub").mkdir(parents=True)
    (place / "w" / "b").write_text("two")
    (place / "w" / "a").write_text("one")
    os.link(place / "w" / "a", place / "w" / "c")
    (place / "w" / "sub" / "up").symlink_to("../a")
    return place


def test_the_same_content_is_the_same_archive_whenever_and_by_whomever_it_was_made(tmp_path: Path) -> None:
    made = []
    for number in (1, 2):
        tree = some_tree(tmp_path / str(number))
        os.utime(tree / "w" / "a", (number, number))
        archive = Archive("lost-1")
        archive.add("README.txt", b"read me")
        archive.add_tree(str(tree), "broken")
        made.append(packed(archive))
    assert made[0] == made[1]
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in listed(made[0]).values()} == {(0, 0, "", "", 315532800)}


def test_what_is_unpacked_is_what_was_there(tmp_path: Path) -> None:
    archive = Archive("lost-1")
    archive.add_tree(str(some_tree(tmp_path / "tree")), "broken")
    (tmp_path / "there").mkdir()
    subprocess.run(["tar", "-xz"], input=packed(archive), cwd=tmp_path / "there", check=True)
    there = tmp_path / "there" / "lost-1" / "broken" / "w"
    assert (there / "b").read_text() == "two" and (there / "sub" / "up").read_text() == "one"
    assert os.path.samefile(there / "a", there / "c")
    assert archive.left_out == []


def test_hostile_names_and_modes_are_kept_and_do_no_harm(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    names = [b"caf\xe9", b"new\nline", b"-rf", b"back\\slash", b"x" * 250]
    for name in names:
        Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_bytes(name)
    (tree / "closed").mkdir()
    (tree / "closed" / "secret").write_text("s")
    os.chmod(tree / "closed" / "secret", 0o4000)
    os.chmod(tree / "closed", 0)
    archive = Archive("lost-1")
    archive.add_tree(str(tree), "broken")
    members = listed(packed(archive))
    assert {f"lost-1/broken/{os.fsdecode(name)}" for name in names} <= members.keys()
    assert members["lost-1/broken/closed"].mode == 0
    assert members["lost-1/broken/closed/secret"].mode == 0, "no set-id bit"


def test_what_leads_out_or_is_no_file_is_left_out_and_said(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "w").mkdir(parents=True)
    (tree / "w" / "passwords").symlink_to("/etc/passwd")
    (tree / "w" / "up").symlink_to("../../../etc")
    (tree / "w" / "here").symlink_to("/w/data")
    (tree / "w" / "data").write_text("d")
    os.mkfifo(tree / "w" / "pipe")
    with open(tree / "w" / "huge", "wb") as huge:
        huge.truncate(1 << 40)
    archive = Archive("lost-1")
    archive.add_tree(str(tree), "broken", ("/w",))
    members = listed(packed(archive))
    assert {one.name for one in archive.left_out} == {
        "broken/w/passwords", "broken/w/up", "broken/w/pipe", "broken/w/huge"
    }  # fmt: skip
    assert members["lost-1/broken/w/here"].linkname == "data"
    assert not any(name.rpartition("/")[2] in ("passwords", "up", "pipe", "huge") for name in members)


@pytest.mark.parametrize(
    ("link", "target", "shown"),
    [
        ("w/l", "a/../b", None),  # `a` may be a link itself
        ("w/l", "..", ".."),
        ("l", "..", None),
        ("w/l", "", None),
        ("w/l", "/w/../etc", None),
        ("w/l", "/ww/a", None),
        ("w/s/l", "/w", ".."),
        ("w/l", "./a//b", "./a//b"),
    ],
)
def test_links_that_stay_inside(link: str, target: str, shown: str | None) -> None:
    assert contained_target(link, target, ("/w",)) == shown


@pytest.mark.parametrize("name", ["../../etc", "/abs", "..", "", "-rf", "a/b", "\udce9\n"])
def test_a_finding_of_any_name_gets_a_harmless_directory(name: str) -> None:
    safe = safe_name(name)
    assert safe and "/" not in safe and not safe.startswith((".", "-")) and safe.isascii()
