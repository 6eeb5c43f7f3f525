"""The search for the smallest reset, on a bench that only remembers which paths are in the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.history import EXITED, End, Reset, Run
from blackstart.core.reading import FileState, Image
from blackstart.trials import Plan
from blackstart.trials.resets import ATTEMPTS_MAX, Resets, attempts

PLAN = Plan(kind="kill", start="S1")


def image(files: dict[str, str]) -> Image:
    """path -> digest; a path that ends in `/` is a directory."""
    return {
        path.rstrip("/"): FileState(
            path=path.rstrip("/"), kind="directory" if path.endswith("/") else "file", digest=digest
        )
        for path, digest in files.items()
    }


class FakeBench:
    """A target that starts only if none of the culprits is left as the crash left it."""

    def __init__(self, before: Image, after: Image, culprits: frozenset[str]) -> None:
        self.images = {"S1": before, "crash": after}
        self.culprits = culprits
        self.zygote = self
        self.healed: set[str] = set()
        self.starts = 0

    def read(self, name: str, base: str = "") -> Image:
        return self.images[name]

    @contextmanager
    def image_from(self, source: str) -> Iterator[str]:
        assert source == "crash"
        self.healed = set()
        yield "copy"

    def remove(self, name: str, path: str) -> None:
        assert name == "copy"
        self.healed |= {one for one in self.images["crash"] if one == path or one.startswith(path + "/")}

    def put(self, name: str, path: str, source: str) -> None:
        assert (name, source) == ("copy", "S1")
        self.healed.add(path)

    pid_step = 300

    @contextmanager
    def sandbox(self, name: str) -> Iterator[FakeBench]:
        self.pid = 2
        yield self

    def advance_pids(self, count: int) -> None:
        self.pid += count

    def start(self, *_: Any, **__: Any) -> tuple[Run, None]:
        assert self.pid > 3 * self.pid_step, "a process id of the killed run and of its restarts would be alive"
        self.starts += 1
        code = 0 if self.culprits <= self.healed else 1
        return Run(phase="reset", end=End(how=EXITED, code=code)), None


def search(before: Image, after: Image, *culprits: str) -> tuple[tuple[Reset, ...], FakeBench]:
    bench = FakeBench(before, after, frozenset(culprits))
    tried = Resets(bench, PLAN, lambda run: run.end.code == 0).search("crash")  # type: ignore[arg-type]
    return tried, bench


def best(tried: tuple[Reset, ...]) -> Reset:
    """As the oracle takes it."""
    return min((one for one in tried if one.helped), key=lambda one: len(one.removed) + len(one.put_back))


def test_a_lock_file_is_found_alone() -> None:
    before = image({"/s/": "", "/s/data": "a"})
    after = image({"/s/": "", "/s/data": "b", "/s/lock": "", "/s/tmp": "x"})
    tried, _ = search(before, after, "/s/lock")
    assert best(tried) == Reset(removed=("/s/lock",), helped=True)


def test_a_directory_as_lock_is_found() -> None:
    before, after = image({"/s/": "", "/s/data": "a"}), image({"/s/": "", "/s/data": "a", "/s/lock/": ""})
    tried, _ = search(before, after, "/s/lock")
    assert best(tried) == Reset(removed=("/s/lock",), helped=True)


def test_what_lies_in_a_new_directory_goes_with_it() -> None:
    before, after = image({"/s/": ""}), image({"/s/": "", "/s/d/": "", "/s/d/one": "1", "/s/d/two": "2"})
    tried, _ = search(before, after, "/s/d/one", "/s/d/two")
    assert best(tried) == Reset(removed=("/s/d",), helped=True)


def test_a_torn_file_is_put_back() -> None:
    before = image({"/s/": "", "/s/data": "a", "/s/other": "c"})
    after = image({"/s/": "", "/s/data": "b", "/s/other": "d", "/s/new": "x"})
    tried, _ = search(before, after, "/s/data")
    assert best(tried) == Reset(put_back=("/s/data",), helped=True)


def test_a_file_that_is_gone_is_put_back() -> None:
    tried, _ = search(image({"/s/data": "a"}), image({}), "/s/data")
    assert best(tried) == Reset(put_back=("/s/data",), helped=True)


def test_two_culprits_of_many_are_found_as_two() -> None:
    before = image({"/s/": "", **{f"/s/{name}": "a" for name in "abcde"}})
    after = image({"/s/": "", **{f"/s/{name}": "b" for name in "abcde"}, "/s/lock": "", "/s/tmp": ""})
    tried, _ = search(before, after, "/s/lock", "/s/d")
    assert best(tried) == Reset(removed=("/s/lock",), put_back=("/s/d",), helped=True)


def test_nothing_is_tried_where_nothing_changed() -> None:
    same = image({"/s/": "", "/s/data": "a"})
    tried, bench = search(same, same, "/s/data")
    assert (tried, bench.starts) == ((), 0)


def test_hopeless_cases_say_what_was_tried() -> None:
    tried, bench = search(image({"/s/a": "1"}), image({"/s/a": "2", "/s/b": ""}), "/elsewhere")
    assert not any(one.helped for one in tried)
    assert len(tried) == bench.starts == 3


NAMES = st.sampled_from([f"/s/{name}" for name in "abcdefghijklmnop"])


@given(
    st.dictionaries(NAMES, st.sampled_from("12"), max_size=16),
    st.dictionaries(NAMES, st.sampled_from("12"), max_size=16),
    st.data(),
)
def test_the_reset_that_helps_holds_every_culprit_and_starts_are_bounded(
    old: dict[str, str], new: dict[str, str], data: st.DataObject
) -> None:
    before, after = image(old), image(new)
    different = sorted(path for path in before | after if old.get(path) != new.get(path))
    culprits = data.draw(st.sets(st.sampled_from(different), min_size=1)) if different else {"/s/none"}
    tried, bench = search(before, after, *culprits)
    assert bench.starts == len(tried) <= ATTEMPTS_MAX
    assert len({(one.removed, one.put_back) for one in tried}) == len(tried)
    if not different:
        return
    found = best(tried)
    assert culprits <= {*found.removed, *found.put_back}
    if len(tried) < ATTEMPTS_MAX:
        assert culprits == {*found.removed, *found.put_back}


def test_smaller_sets_come_first_and_removals_before_contents() -> None:
    before, after = image({"/s/a": "1", "/s/b": "1"}), image({"/s/a": "2", "/s/b": "2", "/s/x": "", "/s/y": ""})
    assert list(attempts(before, after)) == [
        Reset(removed=("/s/x",)),
        Reset(removed=("/s/y",)),
        Reset(removed=("/s/x", "/s/y")),
        Reset(put_back=("/s/a",)),
        Reset(put_back=("/s/b",)),
        Reset(removed=("/s/x", "/s/y"), put_back=("/s/a", "/s/b")),
    ]
