"""What stands in the state directories at the start, and what of a directory is seen through a layer."""

from __future__ import annotations

from pathlib import Path

from blackstart.power import scan
from blackstart.power.tree import Tree


def test_a_root_inside_another_is_scanned_once_and_what_lies_in_it_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "db").write_text("x")
    (tmp_path / "outer" / "notes").write_text("x")
    entries = scan({"/home/inner": str(tmp_path / "copy"), "/home": str(tmp_path / "outer")})
    assert [entry.path for entry in entries] == ["/home/inner", "/home/inner/db", "/home", "/home/notes"]
    tree = Tree(entries)
    assert set(tree.roots) == {"/home/inner", "/home"}
    place = tree.place("/home/inner/db")
    assert place is not None and place[0] == tree.roots["/home/inner"]
