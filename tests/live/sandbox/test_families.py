"""Of many files a trial costs what it changed: counted in files copied and files read, not in time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

import pytest

from blackstart.probes import Prober
from blackstart.sandbox import Zygote

from .conftest import World

pytestmark = pytest.mark.live
FILES = 3_000


class Counting(Prober):
    """Counts the files that it opens."""

    def __init__(self, zygote: Zygote) -> None:
        self.opened = 0
        each = zygote.open_each

        def counted(name: str, paths: Sequence[str], flags: int) -> Iterator[tuple[str, int]]:
            self.opened += len(paths)
            return each(name, paths, flags)

        zygote.open_each = counted  # type: ignore[method-assign]
        super().__init__(zygote)


@pytest.fixture
def many(world: World) -> World:
    for number in range(FILES):
        place = world.state / f"d{number % 30}"
        place.mkdir(exist_ok=True)
        (place / f"record-{number:05}.json").write_text(f"[{number}]")
    return world


def act(world: World, zygote: Zygote, image: str, program: str) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        with zygote.sandbox(image) as sandbox:
            sandbox.start(
                [sys.executable, "-I", "-S", "-c", "import os, mmap, shutil\n" + program],
                env={}, cwd=str(world.state), stdin=null, stdout=null, stderr=null,
            )  # fmt: skip
            assert sandbox.event(300).status == 0
    finally:
        os.close(null)


CHANGES = """
open('d1/record-00001.json', 'w').write('[2]')
os.unlink('d2/record-00002.json')
shutil.rmtree('d3')
os.rename('d4', 'e4')
os.mkdir('new'); open('new/f', 'w').write('n')
with open('d5/record-00005.json', 'r+b') as f, mmap.mmap(f.fileno(), 0) as m: m[1:2] = b'6'
open('/tmp/elsewhere', 'w').write('t')
"""


def test_a_trial_copies_and_reads_what_was_changed(many: World) -> None:
    with Zygote(many.layout()) as zygote:
        zygote.capture("S0")
        prober = Counting(zygote)
        first = prober.image("S0")
        assert prober.opened >= FILES
        assert zygote.copy("S0", "one").files >= FILES
        act(many, zygote, "one", CHANGES)
        prober.opened = 0
        after = prober.image("one")
        # d4 stands at another place: all of its files are new there.
        assert prober.opened < FILES / 30 + 10
        listed = {entry.path for entry in zygote.walk("one")}
        assert after.keys() == listed and f"{many.state}/e4/record-00004.json" in listed
        assert after[f"{many.state}/d5/record-00005.json"].content.leaves == (("/0", "6"),)  # type: ignore[union-attr]
        zygote.drop("one")
        assert zygote.copy("S0", "two").files < FILES / 5, "mended, not copied"
        prober.opened = 0
        assert prober.image("two") == first
        assert prober.opened == 0
        assert list(zygote.walk("two")) == list(zygote.walk("S0"))


def test_a_copy_of_what_a_trial_left_is_mended_too(many: World) -> None:
    with Zygote(many.layout()) as zygote:
        zygote.capture("S0")
        zygote.copy("S0", "one")
        zygote.copy("S0", "spare")
        zygote.drop("spare")
        act(many, zygote, "one", CHANGES)
        assert zygote.copy("one", "two").files < FILES
        assert list(zygote.walk("two")) == list(zygote.walk("one"))
        assert zygote.read("two", f"{many.state}/d5/record-00005.json") == b"[6]"
        assert zygote.read("two", "/tmp/elsewhere") == b"t"


def test_nothing_is_mended_from_an_image_that_has_changed_since(many: World) -> None:
    with Zygote(many.layout()) as zygote:
        zygote.capture("S0")
        zygote.copy("S0", "one")
        zygote.write("S0", f"{many.state}/d1/record-00001.json", b"changed")
        zygote.drop("one")
        assert zygote.copy("S0", "two").files >= FILES
        assert zygote.read("two", f"{many.state}/d1/record-00001.json") == b"changed"


def test_an_image_over_which_somebody_is_still_alive_is_not_used_again(many: World) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    with Zygote(many.layout()) as zygote:
        zygote.capture("S0")
        zygote.copy("S0", "one")
        with zygote.sandbox("one") as sandbox:
            sandbox.start(["/bin/sleep", "60"], env={}, cwd=str(many.state), stdin=null, stdout=null, stderr=null)
            zygote.drop("one")
            assert zygote.copy("S0", "two").files >= FILES
    os.close(null)
