"""A rename that only the sandbox turns into a copy is named; one that crosses outside too, or nowhere, is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from blackstart.core.trace import Operation
from blackstart.sandbox import Layout, crossings


def rename(path: str, path2: str, call: str = "rename") -> Operation:
    return Operation(index=0, call=call, path=path, path2=path2)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """State in one directory, a second one, and a place beside them that is on an overlay."""
    for name in ("state", "other", "beside"):
        (tmp_path / name).mkdir()
    home = str(tmp_path)
    return Layout(cwd=home, home=home, copies=(f"{home}/state", f"{home}/other"))


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("/tmp/new", "{0}/state/list", True),
        ("{0}/beside/new", "{0}/state/list", True),
        ("{0}/other/new", "{0}/state/list", True),
        ("{0}/state/new", "{0}/state/list", False),
        ("/proc/new", "{0}/state/list", False),  # not on one file system outside either
        ("{0}/gone/new", "{0}/state/list", False),
    ],
)
def test_what_crosses_inside_only_is_named(
    source: str, target: str, told: bool, layout: Layout, tmp_path: Path
) -> None:
    if Path("/tmp").stat().st_dev != tmp_path.stat().st_dev and source.startswith("/tmp"):
        told = False
    one = rename(source.format(tmp_path), target.format(tmp_path))
    said = crossings([one, one], layout, lambda path: path.replace(str(tmp_path), "$HOME"))
    assert len(said) == told
    assert all("to $HOME/state/list crosses file systems" in sentence for sentence in said)


def test_only_renames_with_both_names_count(layout: Layout, tmp_path: Path) -> None:
    one = rename(f"{tmp_path}/other/new", f"{tmp_path}/state/list", call="openat")
    assert crossings([one, rename("pipe:[1]", f"{tmp_path}/state/list")], layout, str) == []
