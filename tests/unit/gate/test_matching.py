"""Which operations are hits, and which firing was the planned one."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.randomness import Seed
from blackstart.core.rule import parse
from blackstart.core.trace import Operation
from blackstart.gate import Match, Tamper, context_of
from blackstart.gate.tampering import Armed, is_same, pattern

WRITE = Operation(index=3, call="write", nth=2, masked="$CWD/d.json", path="/x/d.json", kind="file", fd=3, size=10)


class NoLook:
    """A look that must not be taken."""

    def site(self) -> tuple[str, ...]:
        raise AssertionError("nobody needs to know the function")

    def exists(self) -> bool:
        raise AssertionError("nobody needs to know whether the file exists")


class Saw(NoLook):
    def __init__(self, *site: str, exists: bool = False) -> None:
        self._site, self._exists = site, exists

    def site(self) -> tuple[str, ...]:
        return self._site

    def exists(self) -> bool:
        return self._exists


def armed(**match: object) -> Armed:
    value = Match(**{"call": "write", **match})  # type: ignore[arg-type]
    return Armed(0, Tamper(match=value, rule=parse("raise(OSError: EIO)")), Seed(1).source("test"))


@pytest.mark.parametrize(
    ("text", "path", "hit"),
    [
        ("*", "anything\nat all", True),
        ("$CWD/*", "$CWD/a/b", True),
        ("$CWD/*", "$HOME/a", False),
        ("$CWD/*.json|$HOME/x", "$HOME/x", True),
        ("a.c", "abc", False),
        ("a[b]*", "a[b]c", True),
        ("", "", True),
        ("", "x", False),
    ],
)
def test_path_patterns(text: str, path: str, hit: bool) -> None:
    assert (pattern(text).fullmatch(path) is not None) is hit


@given(st.text(max_size=30))
def test_an_exact_path_matches_itself_and_nothing_longer(path: str) -> None:
    one = armed(path=path, exact=True)
    assert one.is_hit(msgspec.structs.replace(WRITE, masked=path), NoLook())
    assert not one.is_hit(msgspec.structs.replace(WRITE, masked=path + "x"), NoLook())


def test_kinds() -> None:
    assert armed(kind="file|directory").is_hit(WRITE, NoLook())
    assert not armed(kind="pipe").is_hit(WRITE, NoLook())


def test_contexts_are_asked_for_only_when_the_rest_matches() -> None:
    one = armed(path="$CWD/*", context="save:$CWD/app.py")
    assert not one.is_hit(msgspec.structs.replace(WRITE, masked="elsewhere"), NoLook())
    assert one.is_hit(WRITE, Saw("/usr/lib/python3.11/json/__init__.py:dump:4", "$CWD/app.py:save:9"))
    assert not one.is_hit(WRITE, Saw("$CWD/app.py:load:9"))
    assert not one.is_hit(WRITE, Saw())


@pytest.mark.parametrize(
    ("opening", "flags", "exists", "hit"),
    [
        ("", os.O_RDONLY, True, True),
        ("new", os.O_RDONLY, True, False),
        ("new", os.O_CREAT | os.O_WRONLY, True, False),
        ("new", os.O_CREAT | os.O_WRONLY, False, True),
        ("new", os.O_TMPFILE | os.O_RDWR, True, True),
        ("new", os.O_WRONLY | os.O_TRUNC, True, False),
        ("writing", os.O_RDONLY, True, False),
        ("writing", os.O_RDWR, True, True),
        ("writing", os.O_RDONLY | os.O_TRUNC, True, True),
        ("writing", os.O_RDONLY | os.O_CREAT, False, True),
        ("writing", os.O_RDONLY | os.O_CREAT, True, False),
    ],
)
def test_opens(opening: str, flags: int, exists: bool, hit: bool) -> None:
    operation = msgspec.structs.replace(WRITE, call="openat", flags=flags)
    one = armed(call="openat", opening=opening)
    assert one.is_hit(operation, Saw(exists=exists)) is hit


def test_the_context_is_the_innermost_frame_of_the_targets_own() -> None:
    def of(*site: str) -> str:
        return context_of(msgspec.structs.replace(WRITE, site=site))

    assert of() == ""
    assert of("/lib/python3.11/json/__init__.py:dump:1", "a:b.py:f.<locals>.g:3", "c.py:h:4") == "f.<locals>.g:a:b.py"
    assert of("/lib/python3.11/x.py:only:1") == "only:/lib/python3.11/x.py"


def test_identity_ignores_what_may_differ() -> None:
    seen = msgspec.structs.replace(WRITE, index=9, path="/other", size=99, data=b"x", at_s=3.0, process=5, fd=8)
    assert is_same(WRITE, seen, str)
    native = msgspec.structs.replace(WRITE, site=("prog:save:0",))
    assert is_same(native, msgspec.structs.replace(WRITE, site=("prog:other:0",)), str), "native frames are guesses"
    for change in ({"nth": 3}, {"call": "pwrite64"}, {"masked": "x"}, {"kind": "pipe"}, {"flags": 1}, {"path2": "y"}):
        assert not is_same(WRITE, msgspec.structs.replace(WRITE, **change), str), change


def test_masked_second_names_are_compared_masked() -> None:
    rename = msgspec.structs.replace(WRITE, call="rename", path2="/run/1")
    assert is_same(rename, msgspec.structs.replace(rename, path2="/run/2"), lambda path: path[:-1])


def test_only_the_first_firing_is_judged() -> None:
    planned = Tamper(match=Match(call="write"), rule=parse("raise(OSError: EIO)"), planned=WRITE)
    one = Armed(0, planned, Seed(1).source("test"))
    assert one.matches_plan(WRITE, str, NoLook()) is True
    assert one.matches_plan(WRITE, str, NoLook()) is None
    assert armed().matches_plan(WRITE, str, NoLook()) is None
