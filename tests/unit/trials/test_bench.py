"""Masked paths and the real ones they stand for, image by image."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blackstart.core.calibration import Mask
from blackstart.core.masking import Masker, rooted
from blackstart.sandbox import Entry
from blackstart.targets import Command
from blackstart.trials import Bench

IMAGES = {"S0": ["/w/run-1.log"], "S1": ["/w/run-1.log.old", "/w/run-22.log"], "empty": []}


class FakeZygote:
    """Images as lists of paths."""

    def walk(self, name: str) -> Iterator[Entry]:
        return iter([Entry(path=path, kind="file") for path in IMAGES[name]])


@pytest.fixture
def bench() -> Bench:
    mask = rooted(Mask(names=((r"run-\d+\.log$", "run-*.log"),)), "/w", "/home/me")
    command = Command(argv=("x",), cwd="/w", env={"HOME": "/home/me"})
    return Bench(zygote=FakeZygote(), command=command, check=None, masker=Masker(mask), prober=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("masked", "real"),
    [
        ("$CWD/notes.json", "/w/notes.json"),
        ("$CWD", "/w"),
        ("$HOME/.cache/x", "/home/me/.cache/x"),
        ("/etc/hosts", "/etc/hosts"),
    ],
)
def test_a_path_without_stars_needs_no_look(bench: Bench, masked: str, real: str) -> None:
    assert bench.real(masked, "no such image") == real
    assert bench.masker(real) == masked


def test_a_masked_name_is_another_file_in_another_image(bench: Bench) -> None:
    assert bench.real("$CWD/run-*.log", "S0") == "/w/run-1.log"
    assert bench.real("$CWD/run-*.log", "S1") == "/w/run-22.log"


def test_where_nothing_has_that_name_nothing_is_found(bench: Bench) -> None:
    assert bench.real("$CWD/run-*.log", "empty") == "/w/run-*.log"


def test_a_program_that_lives_in_the_root_directory() -> None:
    mask = rooted(Mask(), "/", "/")
    command = Command(argv=("x",), cwd="/", env={"HOME": "/"})
    bench = Bench(zygote=FakeZygote(), command=command, check=None, masker=Masker(mask), prober=None)  # type: ignore[arg-type]
    assert bench.real(bench.masker("/notes"), "empty") == "/notes"
