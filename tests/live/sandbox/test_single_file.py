"""A file of the state in a directory too large to be copied: it stands in an upper layer, over that of the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blackstart.sandbox import Zygote

from .conftest import World

pytestmark = pytest.mark.live


@pytest.fixture
def file(world: World) -> Path:
    deep = world.cwd / "large" / "deep"
    deep.mkdir(parents=True, mode=0o700)
    path = deep / ".notes"
    path.write_text("old\n")
    path.chmod(0o640)
    return path


@pytest.fixture
def zygote(world: World, file: Path) -> Iterator[Zygote]:
    with Zygote(world.layout(made=[str(file)])) as made:
        made.capture("S0")
        yield made


def seen(world: World, zygote: Zygote, image: str, file: Path) -> str:
    with zygote.sandbox(image) as sandbox:
        return world.shell(sandbox, f"cat {file} 2>/dev/null || echo gone; ls -a {file.parent} | grep -c notes || true")


def listed(zygote: Zygote, image: str, file: Path) -> list[str]:
    return [entry.path for entry in zygote.walk(image) if entry.path == str(file)]


def test_it_is_part_of_the_image_with_its_mode_and_those_above_it(world: World, zygote: Zygote, file: Path) -> None:
    assert zygote.read("S0", str(file)) == b"old\n"
    assert [entry.mode for entry in zygote.walk("S0") if entry.path == str(file)] == [0o640]
    with zygote.sandbox("S0") as sandbox:
        assert world.shell(sandbox, f"stat -c %a {file} {file.parent} {file.parent.parent}").split() == [
            f"{path.stat().st_mode & 0o7777:o}" for path in (file, file.parent, file.parent.parent)
        ]


def test_what_is_removed_from_the_image_does_not_come_to_light_again(world: World, zygote: Zygote, file: Path) -> None:
    zygote.copy("S0", "trial")
    zygote.remove("trial", str(file))
    assert seen(world, zygote, "trial", file) == "gone\n0\n"
    assert not listed(zygote, "trial", file)
    with pytest.raises(FileNotFoundError):
        zygote.open_in("trial", str(file))
    zygote.copy("trial", "after")
    assert seen(world, zygote, "after", file) == "gone\n0\n"
    zygote.put("trial", str(file), "S0")
    assert seen(world, zygote, "trial", file) == "old\n1\n" and listed(zygote, "trial", file)
    zygote.put("trial", str(file), "after")
    assert seen(world, zygote, "trial", file) == "gone\n0\n"
    zygote.write("trial", str(file), b"new\n")
    assert seen(world, zygote, "trial", file) == "new\n1\n"


def test_what_the_target_does_to_it_stays_in_the_image(world: World, zygote: Zygote, file: Path) -> None:
    for image, script, expected in (
        ("removed", f"rm {file}", "gone\n0\n"),
        ("replaced", f"echo new >{file}.tmp && mv {file}.tmp {file}", "new\n1\n"),
        ("written", f"echo more >>{file}", "old\nmore\n1\n"),
    ):
        zygote.copy("S0", image)
        with zygote.sandbox(image) as sandbox:
            world.shell(sandbox, script)
        assert seen(world, zygote, image, file) == expected
        assert bool(listed(zygote, image, file)) == (image != "removed")
    assert file.read_text() == "old\n"


def test_what_comes_to_stand_beside_it_is_part_of_the_image(world: World, zygote: Zygote, file: Path) -> None:
    journal = file.parent / "journal"
    (file.parent / "other").write_text("of the machine")
    zygote.copy("S0", "trial")
    with zygote.sandbox("trial") as sandbox:
        world.shell(sandbox, f"echo begun >{journal}; mkdir {file.parent}/directory")
    assert [entry.path for entry in zygote.walk("trial") if entry.path.startswith(f"{file.parent}/")] == [
        str(file),
        str(journal),
    ]
    zygote.put("trial", str(journal), "S0")
    assert not listed(zygote, "trial", journal)
    zygote.remove("trial", str(file.parent / "other"))
    with zygote.sandbox("trial") as sandbox:
        assert world.shell(sandbox, f"ls {file.parent}") == "directory\n"
