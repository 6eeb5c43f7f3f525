"""What every fault promises, as one check: `check_fault(make, observe)`. Our own faults run it, and so should yours.

    def test_pause() -> None:
        check_fault(lambda: Pause(process), lambda: is_stopped(process))

A fault is a value with `inject(target)`, which gives a context manager, or a context manager itself. It can be observed
while it is in and is gone afterwards, however it ends: healed twice, with the body failing, and interrupted before any
line of its own inject, for an undo that is registered after the effect is one that an interrupt will skip one day. A
value also comes back equal from its repr and from JSON.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

import msgspec

from blackstart.inprocess.leaks import Held, leaked_since

_STANDARD = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


class Interrupted(BaseException):
    """Raised before a line of a fault's own code, as an interrupt may be."""


class _BodyFailed(Exception):
    """Raised by the body that a fault surrounds."""


def check_fault(
    make: Callable[[], Any],
    observe: Callable[[], object],
    *,
    target: object = None,
    within: Iterable[str] = (),
) -> None:
    """AssertionError, naming the promise that this fault breaks.

    make: gives a new, equal fault each time; observe: what the fault changes, as a value that can be compared, the same
    whenever no fault is in; target: what `inject` is given; within: source files besides the fault's own before whose
    lines its inject is interrupted.
    """
    held = Held.now()
    check = _Check(make, observe, target)
    if hasattr(make(), "inject"):
        check_value(make)
    check.is_observable_and_gone()
    check.heals_twice()
    check.keeps_the_exception()
    check.heals_half_an_inject(frozenset(within))
    assert not (left := leaked_since(held)), f"the fault leaves behind: {'; '.join(left)}"


def check_value(make: Callable[[], Any]) -> None:
    """The part about the value alone: frozen, equal to another one, back from its repr and from JSON."""
    fault = make()
    names = _fields(fault)
    assert names is not None, f"{type(fault).__name__} is neither a Struct nor a dataclass"
    assert fault == make(), "two faults made alike are not equal"
    assert hash(fault) == hash(make()), "two equal faults have different hashes"
    for name in names[:1]:
        try:
            setattr(fault, name, getattr(fault, name))
        except AttributeError:
            continue
        raise AssertionError(f"{type(fault).__name__} is not frozen: its {name} can be set")
    kinds: dict[str, type] = {}
    _collect(fault, kinds)
    text = repr(fault)
    try:
        pasted = _pasted(ast.parse(text, mode="eval").body, kinds)
    except (SyntaxError, ValueError, KeyError, TypeError) as error:
        raise AssertionError(f"its repr cannot be pasted back ({error}): {text}") from None
    assert pasted == fault, f"its repr, pasted back, is another fault: {text}"
    written = msgspec.json.encode(fault)
    assert msgspec.json.decode(written, type=type(fault)) == fault, f"from JSON comes another fault: {written!r}"


class _Check:
    """One fault's promises about the world, one method each."""

    def __init__(self, make: Callable[[], Any], observe: Callable[[], object], target: object) -> None:
        self.make = make
        self.observe = observe
        self.target = target
        self.before = observe()
        assert observe() == self.before, "what is observed changes by itself, with no fault in"

    def context(self) -> AbstractContextManager[object]:
        """One fault, about to be injected."""
        fault = self.make()
        made: AbstractContextManager[object] = fault.inject(self.target) if hasattr(fault, "inject") else fault
        return made

    def gone(self, when: str) -> None:
        now = self.observe()
        assert now == self.before, f"not gone {when}: {self.before!r} before, {now!r} now"

    def is_observable_and_gone(self) -> None:
        self.make()
        self.gone("when it was only made: something happens before inject")
        with self.context():
            assert self.observe() != self.before, f"nothing to be seen after inject: {self.before!r} as before"
        self.gone("after heal")

    def heals_twice(self) -> None:
        context = self.context()
        context.__enter__()
        self.observe()
        context.__exit__(None, None, None)
        try:
            context.__exit__(None, None, None)
        except Exception as error:
            raise AssertionError(f"the second heal raises {error!r}") from error
        self.gone("after the second heal")

    def keeps_the_exception(self) -> None:
        raised = _BodyFailed()
        try:
            with self.context():
                raise raised
        except Exception as error:
            assert error is raised, f"the body's exception is replaced by {error!r}"
        else:
            raise AssertionError("the body's exception is swallowed")
        self.gone("after a body that failed")

    def heals_half_an_inject(self, within: frozenset[str]) -> None:
        files = within | _sources(self.make())
        lines = self.injected(files)
        assert lines, f"inject runs no line of {', '.join(sorted(files)) or 'any source'}"
        counts: dict[str, int] = {}
        for index, place in enumerate(lines):
            counts[place] = counts.get(place, 0) + 1
            # Of a loop the first two rounds: a third tells nothing new.
            if counts[place] <= 2:
                reached = self.injected(files, index)
                self.gone(f"when inject is interrupted before {(reached or lines)[-1]}")

    def injected(self, files: frozenset[str], interrupted_at: int = -1) -> list[str]:
        """The places of the lines of these files that run in an inject; the last one was interrupted, if one was."""
        lines: list[str] = []

        def line(frame: FrameType, event: str, _: object) -> Any:
            if event == "line":
                lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})")
                if len(lines) == interrupted_at + 1:
                    raise Interrupted
            return line

        def call(frame: FrameType, event: str, _: object) -> Any:
            return line if frame.f_code.co_filename in files else None

        others = sys.gettrace()
        sys.settrace(call)
        try:
            context = self.context()
            context.__enter__()
        except Interrupted:
            return lines
        finally:
            sys.settrace(others)
        self.observe()
        context.__exit__(None, None, None)
        assert len(lines) <= interrupted_at or interrupted_at < 0, f"an interrupt before {lines[-1]} is swallowed"
        return lines


def _sources(fault: Any) -> frozenset[str]:
    """The files in which this fault is written; not the standard library's, whose context managers it may use."""
    codes = []
    if hasattr(getattr(fault, "gen", None), "gi_code"):
        codes.append(fault.gen.gi_code.co_filename)
    for kind in type(fault).__mro__:
        try:
            codes.append(inspect.getsourcefile(kind) or "")
        except (TypeError, OSError):
            continue
    return frozenset(path for path in codes if path and ("-packages" in path or not path.startswith(_STANDARD)))


def _fields(value: object) -> list[str] | None:
    if isinstance(value, msgspec.Struct):
        return list(value.__struct_fields__)
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return None


def _collect(value: object, kinds: dict[str, type]) -> None:
    """The types that occur in a value, by the names under which its repr shows them."""
    kinds[type(value).__qualname__] = kinds[type(value).__name__] = type(value)
    if isinstance(value, dict):
        inner = [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inner = list(value)
    else:
        inner = [getattr(value, name) for name in _fields(value) or ()]
    for one in inner:
        _collect(one, kinds)


def _pasted(node: ast.expr, kinds: dict[str, type]) -> Any:
    """What this expression would give in the shell with these types imported; no other name is looked up."""
    if isinstance(node, ast.Call):
        positional = [_pasted(one, kinds) for one in node.args]
        named = {str(one.arg): _pasted(one.value, kinds) for one in node.keywords}
        return kinds[ast.unparse(node.func)](*positional, **named)
    if isinstance(node, ast.Tuple):
        return tuple(_pasted(one, kinds) for one in node.elts)
    if isinstance(node, ast.List):
        return [_pasted(one, kinds) for one in node.elts]
    if isinstance(node, ast.Set):
        return {_pasted(one, kinds) for one in node.elts}
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_pasted(key, kinds): _pasted(value, kinds) for key, value in pairs if key is not None}
    return ast.literal_eval(node)
