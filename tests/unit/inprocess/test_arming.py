"""Failpoints in comments: they fire where they stand, in every shape of code, and leave the very code that was there.

covers: M-4, M-5, M-26
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import py_compile
import random
import subprocess
import sys
import threading
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blackstart import inprocess
from blackstart.core.rule import RuleError, parse
from blackstart.inprocess import armed
from blackstart.inprocess.point import _inside


class Injected(Exception):
    """What these tests raise."""


BOOM = f"raise({__name__}.Injected)"
ANY = "raise(KeyError)"


def test_it_fires_between_its_neighbours_and_counts_hits_and_firings_apart(shop: ModuleType) -> None:
    store: dict[str, int] = {}
    with armed("cas-put-before-write", "@2 raise(OSError: EIO)") as point:
        shop.put(store, "a", 1)
        with pytest.raises(OSError, match="Input/output") as caught:
            shop.put(store, "b", 2)
        shop.put(store, "c", 3)
    assert caught.value.errno == 5
    assert store == {"a": 1, "c": 3}
    assert (point.hits, point.fired) == (3, 1)


def test_the_traceback_shows_the_comment(shop: ModuleType) -> None:
    with armed("cas-put-before-write", ANY), pytest.raises(KeyError) as caught:
        shop.put({}, "a", 1)
    assert "# failpoint: cas-put-before-write" in "".join(traceback.format_exception(caught.value))


def test_disarmed_code_is_the_very_object_that_was_there(shop: ModuleType) -> None:
    before = shop.put.__code__, shop.adder.__code__
    with armed(["cas-put-before-write", "in-closure"], "off"):
        assert shop.put.__code__ is not before[0]
    assert (shop.put.__code__, shop.adder.__code__) == before
    assert shop.put.__code__ is before[0]


def test_the_comment_costs_nothing_while_disarmed() -> None:
    with_it = "def f(a):\n    b = a\n    # failpoint: x\n    return b\n"
    codes = [compile(text, "f", "exec").co_consts[0] for text in (with_it, with_it.replace("# failpoint: x", "#"))]
    assert codes[0].co_code == codes[1].co_code
    assert codes[0] == codes[1]


def consume(make: Callable[[], Any]) -> Any:
    """The items of an asynchronous generator."""

    async def main() -> list[int]:
        return [value async for value in make()]

    return asyncio.run(main())


SHAPES: dict[str, Callable[[ModuleType], Any]] = {
    "begin": lambda shop: shop.branches(1),
    "in-if": lambda shop: shop.branches(1),
    "in-elif": lambda shop: shop.branches(2),
    "in-else": lambda shop: shop.branches(3),
    "in-loop": lambda shop: shop.branches(1),
    "after-loop": lambda shop: shop.branches(0),
    "in-except": lambda shop: shop.branches(5),
    "in-try-else": lambda shop: shop.branches(1),
    "in-case": lambda shop: shop.branches(6),
    "in-init": lambda shop: shop.Base(),
    "in-method": lambda shop: shop.Child().method(),
    "in-property": lambda shop: shop.Child().prop,
    "in-classmethod": lambda shop: shop.Child.made(),
    "in-static": lambda shop: shop.Child.static(),
    "in-closure": lambda shop: shop.adder(1)(2),
    "in-decorated": lambda shop: shop.decorated(),
    "in-cached": lambda shop: shop.cached(object()),
    "in-async": lambda shop: asyncio.run(shop.fetch(1)),
    "in-generator": lambda shop: list(shop.numbers()),
    "in-async-generator": lambda shop: consume(shop.async_numbers),
    "in-context": lambda shop: shop.opened().__enter__(),
}


@pytest.mark.parametrize("name", SHAPES)
def test_it_fires_in_every_shape_of_code_and_heals(shop: ModuleType, name: str) -> None:
    with armed(name, "@1 raise(KeyError)") as point, pytest.raises(KeyError):
        SHAPES[name](shop)
    assert point.fired == 1
    SHAPES[name](shop)
    assert point.hits == 1


def test_copies_stored_methods_and_closures_made_before_and_while_armed_are_reached_and_healed(
    shop: ModuleType,
) -> None:
    copies = {"put": shop.put}
    method = shop.Child().method
    old = shop.adder(1)
    with armed(["cas-put-before-write", "in-method", "in-closure"], ANY) as point:
        new = shop.adder(10)
        for call in (lambda: copies["put"]({}, "a", 1), method, lambda: old(1), lambda: new(1)):
            with pytest.raises(KeyError):
                call()
    assert point.fired == 4
    assert (copies["put"]({}, "a", 1), method(), old(1), new(1)) == (None, 2, 2, 11)


def test_objects_hidden_from_the_collector_are_reached(shop: ModuleType) -> None:
    old = shop.adder(1)
    gc.freeze()
    try:
        with armed("in-closure", ANY) as point, pytest.raises(KeyError):
            old(1)
    finally:
        gc.unfreeze()
    assert point.fired == 1
    assert old(1) == 2


def test_return_gives_its_value_instead(shop: ModuleType) -> None:
    with armed("in-static", "@1 return(41) -> @2 return([1, 'x']) -> @3 return(plain text) -> @4 return"):
        assert [shop.Child.static() for _ in range(5)] == [41, [1, "x"], "plain text", None, 4]
    with armed("in-async", "return(7)"):
        assert asyncio.run(shop.fetch(1)) == 7


@pytest.mark.parametrize("name", ["in-async-generator", "in-init"])
def test_return_is_refused_where_nothing_can_be_returned(shop: ModuleType, name: str) -> None:
    with pytest.raises(inprocess.NotArmable, match="returns no value"):
        armed(name, "return(1)").__enter__()


def test_the_verbs_that_go_on(shop: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    called.clear()
    rule = f"@1 print(here) -> @2 call({__name__}.note) -> @3 yield -> @4 sleep(1ms) -> @5 delay(1ms) -> @6 panic(no)"
    with armed("in-static", rule) as point:
        assert [shop.Child.static() for _ in range(5)] == [4] * 5
        with pytest.raises(RuntimeError, match="no"):
            shop.Child.static()
    assert (point.fired, called, capsys.readouterr().out) == (6, [1], "here\n")


called: list[int] = []


def note() -> None:
    called.append(1)


def test_leaving_lets_go_on_who_hangs_and_waits_for_nobody(shop: ModuleType) -> None:
    done: list[int] = []
    with armed("in-static", "hang") as point:
        thread = threading.Thread(target=lambda: done.append(shop.Child.static()))
        thread.start()
        point.wait_fired()
        assert done == []
    thread.join(timeout=500)
    assert done == [4]


def test_a_task_hangs_without_holding_its_loop_and_can_be_cancelled(shop: ModuleType) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(shop.fetch(1), 0.01)
        task = asyncio.ensure_future(shop.fetch(2))
        while point.fired < 2:
            await asyncio.sleep(0)
        point.heal()
        assert await task == 2

    with armed("in-async", "hang") as point:
        asyncio.run(main())


def test_one_task_of_many(shop: ModuleType) -> None:
    async def one(is_broken: bool) -> str:
        try:
            if is_broken:
                with armed("in-async", ANY, scope="context"):
                    await asyncio.sleep(0)
                    await shop.fetch(1)
            await asyncio.sleep(0)
            await shop.fetch(1)
        except KeyError:
            return "broken"
        return "well"

    async def main() -> list[str]:
        return list(await asyncio.gather(one(True), one(False), one(True)))

    assert asyncio.run(main()) == ["broken", "well", "broken"]


def test_contexts_are_left_in_any_order(shop: ModuleType) -> None:
    before = _inside.get()
    first = armed("in-static", "return(0)", scope="context", may_miss=True)
    second = armed("in-method", "return(1)", scope="context", may_miss=True)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert len(_inside.get()) == len(before) + 1
    second.__exit__(None, None, None)
    assert _inside.get() == before


def test_a_thread_is_in_scope_if_it_was_given_the_context(shop: ModuleType) -> None:
    got: list[object] = []
    with armed("in-static", "return(0)", scope="context") as point:
        context = contextvars.copy_context()
        for target in (shop.Child.static, lambda: context.run(shop.Child.static)):
            thread = threading.Thread(target=lambda target=target: got.append(target()))
            thread.start()
            thread.join()
    assert (got, point.hits) == ([4, 0], 1)


def test_each_injection_is_a_log_record(shop: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "blackstart.fault"), armed("in-static", "@2 return(1)"):
        [shop.Child.static() for _ in range(3)]
    assert caplog.messages == ["fault at in-static, hit 2: @2 return(1)"]


def test_a_rule_that_never_fired_is_an_error_unless_that_is_meant(shop: ModuleType) -> None:
    with pytest.raises(inprocess.NeverFired, match="reached 1 time"), armed("in-static", "@2 return(1)"):
        shop.Child.static()
    with armed("in-static", "@2 return(1)", may_miss=True), armed("in-method", "off"):
        shop.Child.static()


def test_the_exception_of_the_body_is_kept(shop: ModuleType) -> None:
    with pytest.raises(Injected), armed("in-static", ANY):
        raise Injected
    assert shop.Child.static() == 4


def test_the_same_seed_draws_the_same(shop: ModuleType) -> None:
    def draw(seed: int) -> list[object]:
        with armed("in-static", "50% return(0)", seed=seed):
            return [shop.Child.static() for _ in range(40)]

    assert draw(1) == draw(1) != draw(2)


def test_threads_in_the_middle_of_calls_survive_arming_and_disarming(shop: ModuleType) -> None:
    stop = threading.Event()
    wrong: list[object] = []

    def hammer() -> None:
        while not stop.is_set():
            value = shop.Child.static()
            if value not in (4, 0):
                wrong.append(value)

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        with armed("in-static", "return(0)", may_miss=True):
            pass
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_thousand_failpoints_in_one_module(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"def f{n}():\n    # failpoint: many-{n}\n    return {n}\n" for n in range(1000)]
    (tmp_path / "many_points.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    import many_points  # type: ignore[import-not-found]

    with armed([f"many-{n}" for n in range(1000)], "return(-1)") as point:
        assert [many_points.f0(), many_points.f999()] == [-1, -1]
    assert (point.hits, many_points.f999()) == (2, 999)


BAD: list[tuple[str, str, type[Exception], str]] = [
    ("cas-put-befor-write", "off", inprocess.UnknownFailpoint, r"did you mean 'cas-put-before-write' \(.*shop.py:13\)"),
    ("no-such-thing-at-all", "off", inprocess.UnknownFailpoint, "no failpoint"),
    ("in-class", "off", inprocess.NotArmable, "has run already"),
    ("at-module-level", "off", inprocess.NotArmable, "has run already"),
    ("not-one", "off", inprocess.UnknownFailpoint, "no failpoint"),
    ("in-static", "", RuleError, "expected a verb"),
    ("in-static", "rais(OSError)", RuleError, "did you mean 'raise'"),
    ("in-static", "raise", RuleError, "raise needs an exception"),
    ("in-static", "raise(OSErr)", RuleError, "did you mean 'OSError'"),
    ("in-static", "raise(OSError: EIOO)", RuleError, "did you mean 'EIO'"),
    ("in-static", "raise(KeyError: EIO)", RuleError, "KeyError has no errno"),
    ("in-static", "raise(no.such.Thing)", RuleError, "no module 'no'"),
    ("in-static", "raise(json.dumps)", RuleError, "json.dumps is no exception"),
    ("in-static", "raise(json.JSONDecodeError)", RuleError, "cannot be made with one text"),
    ("in-static", "raise(json.Nothing)", RuleError, "json has no Nothing"),
    ("in-static", "call(os.sep)", RuleError, "os.sep cannot be called"),
    ("in-static", "call(here)", RuleError, "not a dotted path"),
    ("in-static", "kill(after)", RuleError, r"a failpoint cannot kill\(after\)"),
    ("in-static", "kill(now)", RuleError, "kill takes no argument but 'after'"),
    ("in-static", "exit(256)", RuleError, "from 0 to 255"),
    ("in-static", "sleep", RuleError, "sleep needs a duration"),
    ("in-static", "sleep(soon)", RuleError, "soon"),
    ("in-static", "hang(1)", RuleError, "takes no argument"),
    ("in-static", "@0 off", RuleError, "from 1"),
    ("in-static", "@1+0 off", RuleError, "from 1"),
    ("in-static", "0% off", RuleError, "above 0"),
    ("in-static", "101% off", RuleError, "at most 100"),
    ("in-static", "3 off", RuleError, "expected '%' or '\\*'"),
    ("in-static", "off off", RuleError, "expected '->'"),
    ("in-static", "off ->", RuleError, "expected a verb"),
    ("in-static", "return(1", RuleError, "not closed"),
]


@pytest.mark.parametrize(("name", "rule", "error", "says"), BAD)
def test_what_cannot_be_armed_is_refused_with_the_reason(
    shop: ModuleType, name: str, rule: str, error: type[Exception], says: str
) -> None:
    code = shop.Child.static.__code__
    with pytest.raises(error, match=says):
        armed(name, rule).__enter__()
    assert shop.Child.static.__code__ is code


def test_two_rules_for_the_whole_process_at_one_place_are_refused(shop: ModuleType) -> None:
    with armed("in-static", "return(0)") as point:
        with pytest.raises(inprocess.AlreadyArmed, match="chain two rules"):
            armed("in-static", "off").__enter__()
        assert shop.Child.static() == 0
    assert point.fired == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("\n\n\ndef f():\n    # failpoint: edited\n    return 1\n", "edited since"),
        ("def f():\n    # failpoint: edited\n    return 2\n", "edited since its import"),
    ],
    ids=["shifted", "changed"],
)
def test_edited_source_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, change: str, says: str) -> None:
    path = tmp_path / f"edited_{abs(hash(change))}.py"
    path.write_text("def f():\n    # failpoint: edited\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__(path.stem)
    path.write_text(change)
    with pytest.raises(inprocess.NotArmable, match=says):
        armed("edited", "off").__enter__()
    path.write_text("def f():\n    pass\n")
    assert module.f() == 1


def test_one_name_in_two_places_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twice.py").write_text("def f():\n    # failpoint: twice\n    pass\n    # failpoint: twice\n")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("twice")
    with pytest.raises(inprocess.NotArmable, match=r"2 places: .*twice.py:2 and .*twice.py:4"):
        armed("twice", "off").__enter__()


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    g(1,\n      # failpoint: odd\n      2)\n",
        "def f():\n    if 1:\n        pass\n  # failpoint: odd\n",
        "def f():  # failpoint: odd\n    pass\n",
        "def f():\n    if 1:\n        pass\n    # failpoint: odd\n    else:\n        pass\n",
    ],
    ids=["inside a call", "column of no block", "behind def", "between if and else"],
)
def test_a_comment_that_stands_nowhere_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    name = f"odd_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text("def g(*a): pass\n" + text)
    monkeypatch.syspath_prepend(tmp_path)
    __import__(name)
    try:
        with pytest.raises(inprocess.NotArmable, match="fits no block"):
            armed("odd", "off").__enter__()
    finally:
        sys.modules.pop(name)


def test_a_module_is_armed_at_its_import_down_to_its_own_body(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import sys\n# failpoint: late-top\nX = 1\nclass C:\n"
    text += "    # failpoint: late-class\n    n = 1\ndef f():\n    # failpoint: late-f\n    return 1\n"
    (tmp_path / "late_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with armed(["late-top", "late-class", "late-f"], "@3 raise(KeyError)", module="late_module") as point:
        import late_module  # type: ignore[import-not-found]

        assert point.hits == 2
        with pytest.raises(KeyError):
            late_module.f()
    assert late_module.f() == 1
    assert point.hits == 3
    with pytest.raises(inprocess.NotArmable, match="loaded already"):
        armed("late-f", "off", module="late_module").__enter__()
    with pytest.raises(inprocess.NotArmable, match="no module"):
        armed("late-f", "off", module="no_such_module").__enter__()


def test_a_module_that_is_never_imported_never_fires(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "never_imported.py").write_text("# failpoint: never-in\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(inprocess.NeverFired, match="armed for the import of never_imported"):
        with armed("never-in", "raise(KeyError)", module="never_imported"):
            pass
    with pytest.raises(inprocess.UnknownFailpoint, match="did you mean 'never-in'"):
        armed("never-inn", "off", module="never_imported").__enter__()


def test_the_function_form_needs_no_source() -> None:
    from blackstart.inprocess import failpoint

    def program() -> object:
        return failpoint("as-a-call")

    globals()["program"] = program
    assert program() is None
    with armed("as-a-call", "return(3)"):
        assert program() == 3
    assert program() is None


failpoint = inprocess.failpoint


def test_a_function_that_no_longer_lives_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forgotten.py").write_text("def f():\n    # failpoint: forgotten\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = __import__("forgotten")
    kept = [module.f]
    del module.f
    with armed("forgotten", "@1 raise(KeyError)"), pytest.raises(KeyError):
        kept[0]()
    kept.clear()
    gc.collect()  # what was raised still holds the frame, and that the function
    with pytest.raises(inprocess.NotArmable, match="no live function runs f"):
        armed("forgotten", "off").__enter__()


def test_a_module_without_source_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "bare.py"
    source.write_text("def f():\n    # failpoint: bare\n    return 1\n")
    py_compile.compile(str(source), str(tmp_path / "bare.pyc"), doraise=True)
    source.unlink()
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = __import__("bare")
    try:
        with pytest.raises(inprocess.UnknownFailpoint, match="loaded without source: bare"):
            armed("bare", "off").__enter__()
        with inprocess.armed_call("bare.f", "return(2)"):
            assert module.f() == 2
    finally:
        sys.modules.pop("bare")


def test_a_module_whose_file_is_gone_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vanished.py").write_text("def f():\n    # failpoint: vanished\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("vanished")
    (tmp_path / "vanished.py").unlink()
    try:
        with pytest.raises(inprocess.UnknownFailpoint, match="loaded without source: vanished"):
            armed("vanished", "off").__enter__()
    finally:
        sys.modules.pop("vanished")


def test_a_module_in_a_zip_file_is_reached(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as file:
        file.writestr("in_a_zip.py", "def f():\n    # failpoint: in-a-zip\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path / "packed.zip")
    module: Any = __import__("in_a_zip")
    with armed("in-a-zip", "return(2)"):
        assert module.f() == 2
    assert module.f() == 1
    sys.modules.pop("in_a_zip")


@pytest.mark.parametrize("flag", ["-O", "-OO"])
def test_optimised_code_is_reached(flag: str) -> None:
    code = (
        "import shop\nfrom blackstart.inprocess import armed\n"
        "with armed('begin', 'return(7)'):\n    print(shop.branches(1))\nprint(shop.branches(1))\n"
    )
    command = [sys.executable, flag, "-c", code]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.stdout == "7\n1\n", done.stderr


def test_a_signal_handler_may_meet_the_place_that_it_interrupted() -> None:
    """A draw stands for the moment in which the signal comes: the count is being changed."""

    class Drawn(random.Random):
        def random(self) -> float:
            if counter.hits == 1:
                nested.append(counter.hit())
            return 0.0

    nested: list[Any] = []
    counter = parse("50% @1+ raise(OSError: EIO)").counter(Drawn())
    assert counter.hit() is not None
    assert (len(nested), counter.hits, counter.fired) == (1, 2, 2)
