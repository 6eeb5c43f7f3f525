"""The n-th call of a dotted path, faulty objects, sweeps and storms.

covers: M-2, M-3, M-5, R-18
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import os
import socket
import sys
from contextvars import copy_context
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blackstart import inprocess
from blackstart.core.errors import BlackstartError
from blackstart.core.rule import RuleError
from blackstart.inprocess import Faulty, armed, armed_call, faulty, storm, sweep, sweeping
from blackstart.inprocess.sites import sites_below


def test_the_nth_call_fails_for_every_caller_and_the_signature_stays(shop: ModuleType) -> None:
    copy = shop.call
    signature, code = inspect.signature(shop.call), shop.call.__code__
    with armed_call("shop.call", "@2 raise(OSError: ENOSPC)") as point:
        assert shop.call(1, 2, 3, c=4, e=5) == (1, 2, (3,), 4, 4, {"e": 5})
        with pytest.raises(OSError, match="No space"):
            copy(1, c=2)
        assert copy(1, c=2) == (1, 2, (), 2, 4, {})
        assert inspect.signature(shop.call) == signature
    assert (point.hits, point.fired) == (3, 1)
    assert shop.call.__code__ is code


def test_each_kind_of_function_stays_of_its_kind(shop: ModuleType) -> None:
    async def consumed() -> list[int]:
        return [value async for value in shop.async_numbers()]

    with armed_call("shop.fetch", "@2 return(9)"):
        assert inspect.iscoroutinefunction(shop.fetch)
        assert [asyncio.run(shop.fetch(1)) for _ in range(2)] == [1, 9]
    with armed_call("shop.numbers", "@2 raise(KeyError)"):
        assert list(shop.numbers()) == [1, 2]
        with pytest.raises(KeyError):
            list(shop.numbers())
    with armed_call("shop.async_numbers", "@2 raise(KeyError)"):
        assert asyncio.run(consumed()) == [1, 2]
        with pytest.raises(KeyError):
            asyncio.run(consumed())
    for path in ("shop.Child.method", "shop.Child.made", "shop.Child.static", "shop.Child.prop"):
        with armed_call(path, "raise(KeyError)"), pytest.raises(KeyError):
            child = shop.Child()
            value = getattr(child, path.rpartition(".")[2])
            value()
    assert (shop.Child().method(), shop.Child.static(), shop.Child().prop) == (2, 4, 3)


def test_functions_of_the_standard_library(shop: ModuleType) -> None:
    with armed_call("json.dumps", "@2 raise(ValueError)"):
        assert shop.dump([1]) == "[1]"
        with pytest.raises(ValueError, match="injected at call"):
            json.dumps({}, indent=2)


def test_a_name_is_not_found_as_the_system_says_it() -> None:
    with (
        armed_call("socket.getaddrinfo", "@1 raise(socket.gaierror: EAI_NONAME)"),
        pytest.raises(socket.gaierror) as raised,
    ):
        socket.create_connection(("db.example", 1))
    assert (raised.value.errno, raised.value.strerror) == (socket.EAI_NONAME, "Name or service not known")


def test_a_function_of_c_is_replaced_where_modules_hold_it_and_put_back(shop: ModuleType, tmp_path: Path) -> None:
    original = os.fsync
    with armed_call("os.fsync", "raise(OSError: EIO)") as point:
        assert os.fsync == original
        with pytest.raises(OSError, match="Input/output"):
            shop.save(str(tmp_path / "f"), "new")
    assert point.fired == 1
    assert os.fsync is original


class Holder:
    """Keeps a function of C where rebinding would not reach it."""

    pause = os.getpid


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("shop", "not a dotted path"),
        ("shop.no", "shop has no 'no'"),
        ("shop.dumb", "shop has no 'dumb'; did you mean 'dump'?"),
        ("shop.Child.statik", "shop.Child has no 'statik'; did you mean 'static'?"),
        ("no_such.thing", "no module 'no_such'"),
        ("shop.Child.text", "is a str"),
        ("shop.cached", "has no Python code"),
        ("os.getpid", "also held by: class Holder"),
        ("collections.deque.append", "has no Python code"),
    ],
)
def test_what_has_no_code_to_exchange_is_refused_with_what_else_would_do(
    shop: ModuleType, path: str, says: str
) -> None:
    with pytest.raises(inprocess.NotArmable, match=says):
        armed_call(path, "off").__enter__()


def test_a_call_is_armed_once_and_a_rule_must_fire(shop: ModuleType) -> None:
    with armed_call("shop.dump", "off"), pytest.raises(inprocess.AlreadyArmed):
        armed_call("shop.dump", "off").__enter__()
    with pytest.raises(inprocess.NeverFired), armed_call("shop.dump", "raise(KeyError)"):
        pass
    with pytest.raises(RuleError):
        armed_call("shop.dump", "@@").__enter__()
    with pytest.raises(RuleError, match=r"a call cannot kill\(after\)"):
        armed_call("shop.dump", "@2 kill(after)").__enter__()


def test_two_paths_to_one_function_are_one_call(shop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("other_shop")
    monkeypatch.setitem(sys.modules, "other_shop", other)
    monkeypatch.setattr(other, "call", shop.call, raising=False)
    monkeypatch.setattr(other, "sync", os.fsync, raising=False)
    code, sync = shop.call.__code__, os.fsync
    for path, also in (("shop.call", "other_shop.call"), ("os.fsync", "other_shop.sync")):
        with armed_call(path, "@9 raise(KeyError)", may_miss=True), pytest.raises(
            inprocess.AlreadyArmed, match=f"{also} and {path} are one function, .* with '@9 raise"
        ):
            armed_call(also, "off").__enter__()
    assert shop.call.__code__ is code
    assert os.fsync is other.sync is sync


def test_rules_of_two_contexts_at_one_call_end_in_any_order(shop: ModuleType) -> None:
    code = shop.call.__code__
    first = armed_call("shop.call", "raise(KeyError)", scope="context")
    second = armed_call("shop.call", "raise(ValueError)", scope="context")
    ours, theirs = copy_context(), copy_context()
    ours.run(first.__enter__)
    theirs.run(second.__enter__)
    with pytest.raises(KeyError):
        ours.run(shop.call, 1, c=2)
    ours.run(first.__exit__, None, None, None)
    assert ours.run(shop.call, 1, c=2) == (1, 2, (), 2, 4, {})
    with pytest.raises(ValueError, match="injected"):
        theirs.run(shop.call, 1, c=2)
    theirs.run(second.__exit__, None, None, None)
    assert shop.call.__code__ is code


@pytest.mark.parametrize("begin", ["line first", "call first"])
@pytest.mark.parametrize("end", ["line first", "call first"])
def test_a_call_and_a_failpoint_in_it_end_in_any_order(shop: ModuleType, begin: str, end: str) -> None:
    code = shop.Child.method.__code__
    line = armed("in-method", "raise(KeyError)")
    call = armed_call("shop.Child.method", "@1 raise(ValueError)")
    for one in (line, call) if begin == "line first" else (call, line):
        one.__enter__()
    with pytest.raises(ValueError, match="injected at call"):
        shop.Child().method()
    with pytest.raises(KeyError):
        shop.Child().method()
    if end == "call first":
        call.__exit__(None, None, None)
        with pytest.raises(KeyError):
            shop.Child().method()
    line.__exit__(None, None, None)
    assert shop.Child().method() == 2
    call.__exit__(None, None, None)
    assert shop.Child.method.__code__ is code


class Store:
    """A small store, sync and async."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {"a": b"abc"}

    def put(self, key: str, value: bytes) -> None:
        self.kept[key] = value

    def get(self, key: str) -> bytes:
        return self.kept[key]

    async def fetch(self, key: str) -> bytes:
        return self.kept[key]

    def __len__(self) -> int:
        return len(self.kept)

    def __contains__(self, key: str) -> bool:
        return key in self.kept


def test_a_faulty_store_fails_on_put_and_get_and_can_be_switched() -> None:
    store: Any = Faulty(Store(), faulty.broken_store())
    assert isinstance(store, Store)
    assert len(store) == 1
    with pytest.raises(OSError, match="No space"):
        store.put("b", b"x")
    with pytest.raises(OSError, match="Input/output"):
        store.get("a")
    store.blackstart.heal()
    store.put("b", b"x")
    assert (store.get("b"), "b" in store, store.kept["b"]) == (b"x", True, b"x")
    store.blackstart.switch({"get": "@2 return"})
    assert (store.get("a"), store.get("a")) == (b"abc", None)
    assert store.blackstart.calls == {"put": 2, "get": 4, "__contains__": 1}
    assert store.blackstart.fired == 1
    with pytest.raises(inprocess.NotArmable, match="did you mean 'put'"):
        Faulty(Store(), {"putt": "off"})


def test_a_corrupted_answer_and_the_other_presets() -> None:
    store: Any = Faulty(Store(), {"get": "@2 return"}, spoil=faulty.flip_bit)
    assert (store.get("a"), store.get("a")) == (b"abc", b"`bc")

    def outcomes(rule: str) -> str:
        broken: Any = Faulty(Store(), rule)
        shown = ""
        for _ in range(6):
            try:
                broken.get("a")
                shown += "."
            except OSError:
                shown += "x"
        return shown

    assert outcomes(faulty.every(3, "OSError: EIO")) == "..x..x"
    assert outcomes(faulty.after(2, "OSError: EIO")) == "..xxxx"
    assert outcomes("off") == "......"
    assert faulty.hanging_after(2) == "@3+ hang"


def test_async_methods_stay_async_and_a_hang_can_be_cancelled() -> None:
    store: Any = Faulty(Store(), {"fetch": "@2 raise(OSError: EIO) -> @3+ hang"})

    async def main() -> None:
        assert await store.fetch("a") == b"abc"
        with pytest.raises(OSError, match="Input/output"):
            await store.fetch("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.fetch("a"), 0.01)
        task = asyncio.ensure_future(store.fetch("a"))
        while store.blackstart.fired < 3:
            await asyncio.sleep(0)
        store.blackstart.switch("off")
        assert await task == b"abc"

    asyncio.run(main())


def test_a_short_read_asks_for_less_and_loses_nothing() -> None:
    file: Any = Faulty(io.BytesIO(b"0123456789"), {"read": "return(3)"})
    assert [file.read(8), file.read(), file.read(2), file.read(8)] == [b"012", b"345", b"67", b"89"]
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"abcdef")
        peer: Any = Faulty(right, {"recv": "return(4)"})
        assert (peer.recv(100), peer.recv(100)) == (b"abcd", b"ef")


def test_a_torn_write_writes_a_part_and_raises() -> None:
    target = io.BytesIO()
    file: Any = Faulty(target, {"write": "raise(OSError: ENOSPC)"}, torn_bytes=2)
    with pytest.raises(OSError, match="No space"):
        file.write(b"abcdef")
    assert target.getvalue() == b"ab"


SAVE = ["save-open", "save-write", "save-fsync", "save-rename", "save-end"]


def test_a_sweep_fails_each_hit_once_in_both_modes_and_ends_with_a_clean_run(shop: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "f"
    seen = []
    for fault in sweep(partial(armed, SAVE), "raise(OSError: EIO)"):
        path.write_text("old")
        with fault:
            try:
                shop.save(str(path), "new")
            except OSError:
                assert fault.fired
        assert path.read_text() in ("old", "new")
        seen.append((fault.mode, fault.hit, fault.fired > 0))
    each = [(hit, hit < 6) for hit in range(1, 7)]
    assert seen == [(mode, *one) for mode in ("transient", "persistent") for one in each]


def test_a_sweep_over_calls(shop: ModuleType, tmp_path: Path) -> None:
    count = 0
    for fault in sweep(partial(armed_call, "os.fsync"), "raise(OSError: EIO)", modes=["transient"]):
        count += 1
        with fault:
            try:
                shop.save(str(tmp_path / "f"), "new")
            except OSError:
                pass
    assert count == 2


def test_a_sweep_that_proves_nothing_is_an_error(shop: ModuleType) -> None:
    arm = partial(armed, "in-static")
    with pytest.raises(BlackstartError, match="was not entered"):
        for _ in sweep(arm, "return(0)"):
            pass
    with pytest.raises(BlackstartError, match="proved nothing"):
        for fault in sweep(arm, "return(0)"):
            with fault:
                pass
    with pytest.raises(BlackstartError, match="did not end after 3 hits"):
        for fault in sweep(arm, "return(0)", limit=3):
            with fault:
                [shop.Child.static() for _ in range(9)]


def test_a_storm_chooses_once_and_repeats_with_its_seed(shop: ModuleType) -> None:
    def run(seed: int) -> tuple[list[str], str]:
        with storm(
            ["in-static", "in-method", "in-generator"], "raise(OSError: EIO)", seed=seed, activate=0.5
        ) as points:
            shown = ""
            for _ in range(20):
                try:
                    shop.Child.static()
                    shown += "."
                except OSError:
                    shown += "x"
            return [name for point in points for name in point.names], shown

    assert run(3) == run(3)
    assert len({str(run(seed)) for seed in range(8)}) > 3


def test_a_storm_over_all_that_can_be_armed(shop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    # Other tests have modules of thousands.
    ours = {site.name: [(shop, site)] for site in sites_below([Path(str(shop.__file__))])}
    assert "never" in ours, "one that cannot be armed is among them"
    monkeypatch.setattr(sweeping, "known_sites", lambda: ours)
    with storm(None, "raise(OSError: EIO)", seed=1, activate=1, fire=1) as points:
        with pytest.raises(OSError):
            shop.Child.static()
        assert {"in-static", "in-method"} <= {name for point in points for name in point.names}


@pytest.mark.parametrize("names", ["in-static", ["in-static", "in-method"], None])
def test_a_storm_never_leaves_all_in_peace(shop: ModuleType, names: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {site.name: [(shop, site)] for site in sites_below([Path(str(shop.__file__))])}
    monkeypatch.setattr(sweeping, "known_sites", lambda: ours)

    def chosen(seed: int) -> tuple[str, ...]:
        with storm(names, "raise(OSError: EIO)", seed=seed, activate=1e-9) as points:
            assert [len(point.names) for point in points] == [1]
            return points[0].names

    drawn = [chosen(seed) for seed in range(12)]
    assert drawn == [chosen(seed) for seed in range(12)]
    assert (len(set(drawn)) > 1) == (names != "in-static")


def test_a_storm_over_what_cannot_be_armed_is_refused(shop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {site.name: [(shop, site)] for site in sites_below([Path(str(shop.__file__))]) if site.name == "never"}
    monkeypatch.setattr(sweeping, "known_sites", lambda: ours)
    with pytest.raises(BlackstartError, match="of which none can be armed"), storm(None, "off", seed=1):
        pass


@pytest.mark.parametrize(
    ("names", "what", "chances", "said"),
    [
        (["in-static"], "off", {"activate": 0}, "activate=0 is no chance"),
        (["in-static"], "off", {"fire": 1.5}, "fire=1.5 is no chance"),
        # Of these none is chosen.
        ("in-statik", "off", {"activate": 1e-9}, "did you mean 'in-static'"),
        (["in-static"], "rase", {"activate": 1e-9}, "did you mean 'raise'"),
        ([], "off", {}, "no name of a failpoint"),
    ],
)
def test_a_storm_is_checked_whatever_it_chooses(
    shop: ModuleType, names: str | list[str], what: str, chances: dict[str, float], said: str
) -> None:
    with pytest.raises(BlackstartError, match=said), storm(names, what, seed=1, **chances):
        pass


def test_a_sweep_of_no_mode_is_refused(shop: ModuleType) -> None:
    with pytest.raises(BlackstartError, match="breaks nothing"):
        list(sweep(partial(armed, "save-open"), "raise(OSError)", modes=()))


def test_a_sweep_knows_its_modes(shop: ModuleType) -> None:
    with pytest.raises(BlackstartError, match="no mode 'transiet'; did you mean 'transient'"):
        next(sweep(partial(armed, "in-static"), "return(0)", modes=["transiet"]))


def test_an_asynchronous_generator_is_sent_and_thrown_what_its_user_sends(tmp_path: Path) -> None:
    async def lines() -> Any:
        try:
            said = yield "a"
            yield f"said {said}"
        except KeyError:
            yield "caught"
        finally:
            ended.append(True)

    async def main() -> None:
        one = module.lines()
        assert [await one.asend(None), await one.asend("b")] == ["a", "said b"]
        await one.aclose()
        two = module.lines()
        assert [await anext(two), await two.athrow(KeyError())] == ["a", "caught"]
        assert [line async for line in two] == []
        with pytest.raises(OSError, match="Input/output"):
            await anext(module.lines())

    ended: list[bool] = []
    module: Any = ModuleType("has_lines")
    module.lines = lines
    sys.modules["has_lines"] = module
    try:
        with armed_call("has_lines.lines", "@3 raise(OSError: EIO)"):
            asyncio.run(main())
    finally:
        sys.modules.pop("has_lines")
    assert ended == [True, True]


def test_blackstart_itself_is_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("blackstart.inprocess.point.Point.reach", "blackstart.core.rule.parse"):
        with pytest.raises(inprocess.NotArmable, match="is a part of blackstart"), armed_call(path, "raise(OSError)"):
            pass
