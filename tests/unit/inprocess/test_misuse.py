"""Failpoints where none can be, code that runs already, and everything done twice or too late: each says what is wrong.

covers: M-4, M-5
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from blackstart import inprocess
from blackstart.core.errors import BlackstartError
from blackstart.inprocess import AlreadyArmed, NeverFired, NotArmable, armed, armed_call

ANY = "raise(KeyError)"
NUMBERS = itertools.count()
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import a module of this source; nothing may stay armed in it."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def make(source: str) -> ModuleType:
        names.append(f"misused_{next(NUMBERS)}")
        (tmp_path / f"{names[-1]}.py").write_text(source)
        return importlib.import_module(names[-1])

    yield make
    for name in names:
        sys.modules.pop(name)
    assert inprocess.disarm_everything() == []


RAN = "is in the body of a module or class, which has run already"
BEFORE = "arm it before the import with module=..., or in a child process"
LAMBDA = "stands in a lambda, which has no statements"
DEF = "make it a function with def, or break its calls by their dotted path (armed_call)"


@pytest.mark.parametrize(
    ("source", "line", "what", "next_step"),
    [
        ("class C:\n    # failpoint: odd-place\n    n = 1\n", 2, RAN, BEFORE),
        ("class C:\n    n = 1  # failpoint: odd-place\n", 2, RAN, BEFORE),
        ("class C:\n    class D:\n        # failpoint: odd-place\n        n = 1\n", 3, RAN, BEFORE),
        ("if True:\n    n = 1\n    # failpoint: odd-place\n", 3, RAN, BEFORE),
        ("f = (lambda a:\n    # failpoint: odd-place\n    a + 1)\n", 2, LAMBDA, DEF),
        ("def f():\n    return (lambda a:\n        # failpoint: odd-place\n        a + 1)\n", 3, LAMBDA, DEF),
        # Behind a statement it fires before the statement, whatever stands in that.
        ("f = lambda a: a + 1  # failpoint: odd-place\n", 1, RAN, BEFORE),
    ],
    ids=["class", "behind in class", "class in class", "module", "lambda", "lambda in def", "behind lambda"],
)
def test_where_no_call_can_come_any_more(load: Load, source: str, line: int, what: str, next_step: str) -> None:
    module = load(source)
    with pytest.raises(NotArmable) as caught:
        armed("odd-place", "off").__enter__()
    assert str(caught.value) == (
        f"failpoint 'odd-place' {what}\n  where: {module.__file__}:{line}\n  next:  {next_step}"
    )


def test_a_line_that_the_compiler_leaves_out_is_refused(load: Load) -> None:
    module = load("def f():\n    # failpoint: before-return\n    return 1\n    # failpoint: behind-return\n")
    with pytest.raises(NotArmable) as caught:
        armed("behind-return", "return(2)").__enter__()
    assert str(caught.value) == (
        "failpoint 'behind-return' stands where nothing comes by: the compiler leaves its line out\n"
        f"  where: {module.__file__}:4\n"
        "  next:  is it behind a `return`, `raise`, `break` or `continue`? put it before"
    )
    with armed("before-return", "return(2)"):
        assert module.f() == 2


def test_a_class_made_in_a_function_runs_its_body_again(load: Load) -> None:
    module = load("def make():\n    class C:\n        # failpoint: in-local-class\n        n = 1\n    return C.n\n")
    with armed("in-local-class", "@1 raise(KeyError)"), pytest.raises(KeyError):
        module.make()
    assert module.make() == 1


def test_the_calls_of_a_lambda_are_reached_by_their_path(load: Load) -> None:
    module = load("f = lambda a: a + 1\n")
    with armed_call(f"{module.__name__}.f", "return(0)"):
        assert module.f(1) == 0
    assert module.f(1) == 2


BEGUN = "the place was not reached; calls that had begun before keep the old code until they return: 1; pass may_miss"
OUTER = """
def outer(go):
    def inner():
        go()
        # failpoint: in-running
        return 1
    return inner
"""


def test_a_nested_function_that_runs_in_another_thread_keeps_its_code_and_that_is_said(load: Load) -> None:
    here, go, got = threading.Event(), threading.Event(), []

    def wait() -> None:
        here.set()
        go.wait(60)

    inner = load(OUTER).outer(wait)
    thread = threading.Thread(target=lambda: got.append(inner()))
    thread.start()
    assert here.wait(60)
    with pytest.raises(NeverFired, match=BEGUN), armed("in-running", "return(2)"):
        go.set()
        thread.join()
    assert got == [1]
    with armed("in-running", "return(2)"):
        assert inner() == 2


def test_a_nested_function_that_arms_itself_keeps_its_code(load: Load) -> None:
    fault = armed("in-running", "return(2)", may_miss=True)
    points = []
    inner = load(OUTER).outer(lambda: points.append(fault.__enter__()) if not points else None)
    try:
        assert [inner(), inner()] == [1, 2]
    finally:
        fault.__exit__(None, None, None)
    assert (points[0].hits, inner()) == (1, 1)


def test_a_generator_and_a_coroutine_that_have_begun_keep_their_code_and_that_is_said(load: Load) -> None:
    module = load(
        "def numbers():\n    yield 1\n    # failpoint: in-begun\n    yield 2\n\n"
        "async def wait(future):\n    await future\n    # failpoint: in-awaiting\n    return 1\n"
    )
    begun = module.numbers()
    assert next(begun) == 1
    with pytest.raises(NeverFired, match=BEGUN), armed("in-begun", "raise(KeyError)"):
        assert list(begun) == [2]
    with armed("in-begun", "raise(KeyError)"), pytest.raises(KeyError):
        list(module.numbers())

    async def main() -> int:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(module.wait(future))
        await asyncio.sleep(0)
        with pytest.raises(NeverFired, match=BEGUN), armed("in-awaiting", "return(2)"):
            future.set_result(None)
            await task
        return int(task.result())

    assert asyncio.run(main()) == 1


def test_one_object_is_entered_once_at_a_time_and_left_as_often_as_one_likes(shop: ModuleType) -> None:
    fault = armed("in-static", "return(0)")
    with pytest.raises(NotArmable, match=r"in-static: left without being entered\n.*write it as a `with` block"):
        fault.__exit__(None, None, None)
    with fault as point:
        with pytest.raises(AlreadyArmed, match=r"in-static: armed by this very object already\n.*leave its block"):
            fault.__enter__()
        assert shop.Child.static() == 0
        point.heal()
        point.heal()
    fault.__exit__(None, None, None)
    assert shop.Child.static() == 4
    with fault as again:
        assert shop.Child.static() == 0
    assert (point.hits, again.hits) == (1, 1)


@pytest.mark.parametrize(
    "second", [lambda: armed(["in-method", "in-static"], "off"), lambda: armed("in-static", "off")]
)
def test_a_second_rule_at_one_place_is_refused_and_the_first_holds(
    shop: ModuleType, second: Callable[[], armed]
) -> None:
    with armed("in-static", "return(0)"):
        with pytest.raises(AlreadyArmed) as caught:
            second().__enter__()
        assert str(caught.value) == (
            "'in-static' is armed already, with 'return(0)'\n"
            '  next:  chain two rules with `->`, or arm both with scope="context"'
        )
        assert (shop.Child.static(), shop.Child().method()) == (0, 2)


def test_a_name_given_twice_is_armed_already(shop: ModuleType) -> None:
    with pytest.raises(AlreadyArmed, match="'in-static' is armed already"):
        armed(["in-static", "in-static"], "off").__enter__()
    assert shop.Child.static() == 4


def test_a_call_that_is_armed_twice(shop: ModuleType) -> None:
    with armed_call("shop.dump", "return(0)"):
        with pytest.raises(AlreadyArmed, match=r"'shop.dump' is armed already, with 'return\(0\)'\n.*chain two rules"):
            armed_call("shop.dump", "off").__enter__()
        assert shop.dump(1) == 0
    assert shop.dump(1) == "1"


def test_everything_is_disarmed_twice(shop: ModuleType) -> None:
    fault = armed("in-static", "return(0)", may_miss=True)
    point = fault.__enter__()
    assert inprocess.disarm_everything() == [point]
    assert inprocess.disarm_everything() == []
    assert shop.Child.static() == 4
    fault.__exit__(None, None, None)
    assert shop.Child.static() == 4


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: armed([], "off"), "no name of a failpoint was given"),
        (lambda: armed(None, "off"), "None is no name: a name is a text"),  # type: ignore[arg-type]
        (lambda: armed(["in-static", 3], "off"), "3 is no name: a name is a text"),  # type: ignore[list-item]
        (lambda: armed_call(3, "off"), "3 is no name: a name is a text"),  # type: ignore[arg-type]
        (lambda: armed_call(["shop.dump"], "off"), "is no name: a name is a text"),  # type: ignore[arg-type]
        (lambda: armed("in-static", "off", scope="contxt"), "no scope 'contxt'; did you mean 'context'"),
        (lambda: armed_call("shop.dump", "off", scope="contxt"), "no scope 'contxt'; did you mean 'context'"),
        (
            lambda: armed("in-static", "off", scope="thread"),
            "no scope 'thread'\n  next:  scope='process' for every hit",
        ),
    ],
)
def test_wrong_arguments_are_refused(shop: ModuleType, make: Callable[[], armed], says: str) -> None:
    with pytest.raises(NotArmable, match=says):
        make().__enter__()
    assert shop.Child.static() == 4


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ("def f():\n    # failpoint: torn\n    return (1\n", "no failpoint 'torn'; .*cannot be read: line 3: "),
        ("def f()\n    # failpoint: torn\n    return 1\n", "cannot be read: line 1: expected ':'"),
    ],
)
def test_a_source_that_can_no_longer_be_read_is_named_with_the_reason(load: Load, now: str, says: str) -> None:
    module = load("def f():\n    # failpoint: torn\n    return 1\n")
    Path(str(module.__file__)).write_text(now)
    with pytest.raises(BlackstartError, match=says), armed("torn", ANY):
        pass


def test_a_module_to_come_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, load: Load) -> None:
    load("")  # the directory is on the path
    (tmp_path / "misused_torn.py").write_text("def f(:\n    # failpoint: torn\n    pass\n")
    with pytest.raises(NotArmable, match="cannot be read: line 1: invalid syntax"):
        armed("torn", ANY, module="misused_torn").__enter__()


def test_a_file_that_was_loaded_under_two_names_is_armed_in_both(load: Load) -> None:
    one = load("def f():\n    # failpoint: doubled\n    return 1\n")
    spec = importlib.util.spec_from_file_location("misused_again", str(one.__file__))
    assert spec and spec.loader
    other = sys.modules["misused_again"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(other)
        with armed("doubled", ANY) as point:
            for module in (one, other):
                with pytest.raises(KeyError):
                    module.f()
        assert (point.fired, one.f(), other.f()) == (2, 1, 1)
    finally:
        sys.modules.pop("misused_again")


def test_what_ends_a_line_for_other_readers_moves_no_failpoint(load: Load) -> None:
    module = load(
        "def f(x):\n    s = 'a\x0cb\u2028c\x1cd'\n    \x0c\n    if x:\n        y = s\n        # failpoint: in-if\n"
        "    else:\n        # failpoint: in-else\n        y = 2\n    return y\n"
    )
    for name, argument in (("in-if", 1), ("in-else", 0)):
        with armed(name, ANY), pytest.raises(KeyError):
            module.f(argument)
        with armed(name, ANY, may_miss=True) as point:
            module.f(not argument)
        assert point.hits == 0


def test_a_call_of_failpoint_is_found_however_it_is_imported(load: Load) -> None:
    module = load(
        "import blackstart.inprocess as b\ndef f():\n    return b.failpoint('by-package')\n"
        "def g():\n    from blackstart.inprocess import failpoint\n    return failpoint('by-import')\n"
    )
    for name, call in (("by-package", module.f), ("by-import", module.g)):
        with armed(name, "return(3)"):
            assert call() == 3
    with pytest.raises(inprocess.UnknownFailpoint), armed("by-nobody", ANY):
        pass


def test_hits_outside_of_the_context_are_told(load: Load) -> None:
    module = load("def f():\n    # failpoint: elsewhere\n    return 1\n")
    with pytest.raises(inprocess.NeverFired, match="outside of it 1 time"), armed("elsewhere", ANY, scope="context"):
        thread = threading.Thread(target=module.f)
        thread.start()
        thread.join()
