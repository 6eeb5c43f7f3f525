"""`Faulty(target, rule)`: any object, of Python or C, whose calls fail by rule. It is handed in instead.

    disk = Faulty(store, {"put": "raise(OSError: ENOSPC)", "get": "@2 raise(OSError: EIO)"})
    disk.blackstart.switch("off")        # healthy again, in mid-test
    disk.blackstart.fired                # the only name that does not lead to the object itself

A short read is legal: `return(3)` on a read asks the object for at most three bytes and loses none. A torn write
(`torn_bytes`) writes so many bytes, then raises. Where the object answers with itself, as on `with`, the answer is the
stand-in. A rule that no call would ever meet is refused: for what is no call, or for an operator that nobody counts.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from blackstart.core.randomness import Seed
from blackstart.core.rule import Term
from blackstart.core.verbs import near
from blackstart.inprocess.errors import NeverFired, NotArmable
from blackstart.inprocess.point import Point

READS = frozenset({"read", "read1", "recv", "readinto", "readinto1", "recv_into"})
WRITES = frozenset({"write", "send"})
TORN = WRITES | {"sendall", "write_bytes", "write_text"}
_VERBS = frozenset("off raise return sleep delay hang yield print pause kill exit call panic".split())
_SPECIAL = (
    "__len__ __iter__ __next__ __getitem__ __setitem__ __delitem__ __contains__ __enter__ __exit__ __call__ __bool__ "
    "__aenter__ __aexit__ __aiter__ __anext__ __eq__ __lt__ __hash__ __str__ __repr__ __int__ __float__ __index__ "
    "__add__ __sub__ __mul__ __truediv__ __floordiv__ __mod__ __pow__ __and__ __or__ __xor__ __matmul__ __lshift__ "
    "__rshift__ __neg__ __radd__ __iadd__ __ior__ __le__ __gt__ __ge__ __ne__ __reversed__ __await__ __format__ "
    "__fspath__ __bytes__"
).split()
# Asked of the object itself: a test that prints or compares it must not use up a hit. A rule of their own counts them.
_UNCOUNTED = frozenset("__repr__ __str__ __format__ __hash__ __eq__ __ne__ __bool__ __len__".split())
_MANAGER = contextlib.asynccontextmanager(lambda: None).__code__  # type: ignore[arg-type,return-value]


class Control:
    """What a test knows of a faulty object and does to it."""

    def __init__(
        self,
        target: Any,
        rule: str | Mapping[str, str],
        seed: int | Seed,
        torn_bytes: int | None,
        spoil: Callable[[Any], Any] | None,
    ) -> None:
        self.target = target
        self.calls: dict[str, int] = {}
        self.torn_bytes = torn_bytes
        self.spoil = spoil
        self._seed = seed
        self._points: dict[str, Point] = {}
        self._over: list[Point] = []
        self.switch(rule)

    def switch(self, rule: str | Mapping[str, str]) -> None:
        """Follow another rule from now on; who hangs in the old one goes on. Counts of hits begin anew."""
        if isinstance(rule, Mapping):
            for name in rule:
                _must_be_a_call(self.target, name)
            if self.torn_bytes is not None and rule and not TORN.intersection(rule):
                raise NotArmable(
                    "torn_bytes is for a write, and none has a rule", next_step=f"a write is: {' '.join(sorted(TORN))}"
                )
        rules = dict(rule) if isinstance(rule, Mapping) else {"": rule}
        kind = type(self.target).__name__
        made = {
            name: Point((f"{kind}.{name}".rstrip("."),), text, seed=self._seed, can=_VERBS, mechanism="an object")
            for name, text in rules.items()
        }
        old, self._points = self._points, made
        self._over += old.values()
        for point in old.values():
            point.heal()

    def heal(self) -> None:
        """Healthy from now on."""
        self.switch("off")

    @property
    def hits(self) -> int:
        """How many calls a rule has looked at since it was given."""
        return sum(point.hits for point in self._points.values())

    @property
    def fired(self) -> int:
        """How many of them it changed."""
        return sum(point.fired for point in self._points.values())

    def must_have_fired(self) -> None:
        """NeverFired if none of the rules that it ever had did anything, and one could have."""
        ever = [*self._over, *self._points.values()]
        could = [point for point in ever if point.can_fire]
        if could and not any(point.fired for point in ever):
            called = ", ".join(f"{name} {count}x" for name, count in self.calls.items()) or "nothing"
            raise NeverFired(
                f"the rule {str(could[0].rule)!r} of a faulty {type(self.target).__name__} never fired",
                next_step=f"called was: {called}; pass may_miss=True if that is meant",
            )

    def point(self, name: str) -> Point | None:
        """The rule for calls of `name`."""
        return self._points.get(name) or self._points.get("")

    def counts(self, name: str) -> bool:
        """Whether a use of this operator is a hit."""
        return name not in _UNCOUNTED or name in self._points


def _must_be_a_call(target: Any, name: str) -> None:
    """NotArmable if a rule for `name` would never be met."""
    kind = type(target).__name__
    if not isinstance(name, str):
        raise NotArmable(f"{name!r} is no name of a call: a name is a text", next_step='write it like {"put": rule}')
    if not hasattr(target, name):
        names = [known for known in dir(target) if not known.startswith("_")]
        raise NotArmable(f"{kind} has no {name!r}{near(name, names)}")
    if name.startswith("__") and name.endswith("__") and name not in _SPECIAL:
        raise NotArmable(f"uses of {name} of a {kind} cannot be counted", next_step=f"can be: {' '.join(_SPECIAL)}")
    real = getattr(target, name)
    if isinstance(real, type):
        step = "give a rule to the object that is made of it, or use armed_call"
        raise NotArmable(f"{name!r} of this {kind} is a class, which is no call", next_step=step)
    if not callable(real):
        raise NotArmable(f"{name!r} of this {kind} is a value, and no call", next_step="give a rule to a method")
    if isinstance(target, type) and isinstance(inspect.getattr_static(target, name), FunctionType):
        step = "hand in an object, or break the method by its dotted path (armed_call)"
        raise NotArmable(f"{target.__name__} is a class: {name!r} is called on its objects", next_step=step)


class Faulty:
    """A stand-in for `target`; isinstance holds, attributes are its own, calls follow the rule.

    rule: for all its calls, which then share one count, or one for each method. seed: of the percentages.
    torn_bytes: a write that is to raise writes so many bytes first. spoil: what a `return` without a value makes of
    the object's own answer, such as a bit flipped. Its control is the attribute `blackstart`.
    """

    blackstart: Control

    def __new__(cls, target: Any, *_: Any, **__: Any) -> Faulty:
        # Operators look at the type, never at __getattr__: each object gets a class with those that it has.
        special = {
            name: _special(name) if getattr(type(target), name) is not None else None
            for name in _SPECIAL
            if hasattr(type(target), name)
        }
        made: Faulty = object.__new__(type(f"Faulty{type(target).__name__}", (cls,), special))
        return made

    def __init__(
        self,
        target: Any,
        rule: str | Mapping[str, str] = "off",
        *,
        seed: int | Seed = 0,
        torn_bytes: int | None = None,
        spoil: Callable[[Any], Any] | None = None,
    ) -> None:
        object.__setattr__(self, "blackstart", Control(target, rule, seed, torn_bytes, spoil))

    @property
    def __class__(self) -> type:
        return type(object.__getattribute__(self, "blackstart").target)

    @__class__.setter
    def __class__(self, value: type) -> None:
        raise TypeError("the class of a faulty object is that of its target")

    def __reduce_ex__(self, protocol: Any) -> Any:
        kind = type(object.__getattribute__(self, "blackstart").target).__name__
        raise NotArmable(
            f"a faulty {kind} can be neither copied nor pickled: a copy would have none of its rules and counts",
            next_step="hand in this very object, or break the calls for all objects with armed_call",
        )

    def __getattr__(self, name: str) -> Any:
        return _wrapped(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.blackstart.target, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.blackstart.target, name)


def _special(name: str) -> Any:
    def method(self: Faulty, *arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        control = object.__getattribute__(self, "blackstart")
        if not control.counts(name):
            return getattr(control.target, name)(*arguments, **named)
        return _wrapped(self, name)(*arguments, **named)

    return method


def _wrapped(standing: Faulty, name: str) -> Any:
    control = standing.blackstart
    real = getattr(control.target, name)
    if not callable(real) or isinstance(real, type):
        return real
    if inspect.isasyncgenfunction(real):
        return _generating(control, name, real)
    if getattr(real, "__code__", None) is _MANAGER:
        return _managing(control, name, real)
    if inspect.iscoroutinefunction(real) or inspect.iscoroutinefunction(type(real).__call__):
        return _in_task(standing, name, real)

    def call(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        term, point = _counted(control, name)
        if term is None or point is None:
            return _itself(standing, real(*arguments, **named))
        size = _bytes(name, term)
        if size is not None:
            arguments, named = _shortened(control, name, arguments, named, size)
            return real(*arguments, **named)
        if _is_torn(control, name, term):
            torn, named = _shortened(control, name, arguments, named, control.torn_bytes or 0)
            real(*torn, **named)
        answer, spoil = point.do(term), _spoil(control, term)
        if answer is None:
            return _itself(standing, real(*arguments, **named))
        return answer[0] if spoil is None else spoil(real(*arguments, **named))

    return call


def _in_task(standing: Faulty, name: str, real: Any) -> Any:
    control = standing.blackstart

    async def in_task(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        term, point = _counted(control, name)
        if term is None or point is None:
            return _itself(standing, await real(*arguments, **named))
        size = _bytes(name, term)
        if size is not None:
            arguments, named = _shortened(control, name, arguments, named, size)
            return await real(*arguments, **named)
        if _is_torn(control, name, term):
            torn, named = _shortened(control, name, arguments, named, control.torn_bytes or 0)
            await real(*torn, **named)
        answer, spoil = await point.do_in_task(term), _spoil(control, term)
        if answer is None:
            return _itself(standing, await real(*arguments, **named))
        return answer[0] if spoil is None else spoil(await real(*arguments, **named))

    return in_task


def _generating(control: Control, name: str, real: Any) -> Any:
    """An asynchronous generator: the rule is met where it begins. A `return` ends it there."""

    async def generate(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        term, point = _counted(control, name)
        if term is not None and point is not None and await point.do_in_task(term) is not None:
            return
        inner = real(*arguments, **named)
        try:
            value = await inner.asend(None)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as error:
                    value = await inner.athrow(error)
                else:
                    value = await inner.asend(sent)
        except StopAsyncIteration:
            return

    return generate


def _managing(control: Control, name: str, real: Any) -> Any:
    """A method made by asynccontextmanager: the rule is met on entering."""

    @contextlib.asynccontextmanager
    async def manage(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        term, point = _counted(control, name)
        answer = await point.do_in_task(term) if term is not None and point is not None else None
        if answer is not None:
            yield answer[0]
            return
        async with real(*arguments, **named) as value:
            yield value

    return manage


def _itself(standing: Faulty, answer: Any) -> Any:
    """The stand-in where an object answers with itself: on `with`, on `iter`, in a chain of calls."""
    return standing if answer is standing.blackstart.target else answer


def _counted(control: Control, name: str) -> tuple[Term | None, Point | None]:
    control.calls[name] = control.calls.get(name, 0) + 1
    point = control.point(name)
    return (None, None) if point is None else (point.decide(), point)


def _bytes(name: str, term: Term) -> int | None:
    """How many bytes `return(n)` asks for on a read or a write; None if it is another effect."""
    if term.verb != "return" or name not in READS | WRITES:
        return None
    return term.number if term.number is not None and term.number > 0 else None


def _is_torn(control: Control, name: str, term: Term) -> bool:
    return control.torn_bytes is not None and name in TORN and term.verb in ("raise", "panic")


def _spoil(control: Control, term: Term) -> Callable[[Any], Any] | None:
    return control.spoil if term.verb == "return" and term.argument is None else None


def _shortened(
    control: Control, name: str, arguments: tuple[Any, ...], named: dict[str, Any], size: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call for at most `size` bytes."""
    # `os.read` and its like are told the descriptor first.
    head = arguments[:1] if isinstance(control.target, ModuleType) else ()
    rest = arguments[len(head) :]
    cut = tuple(_cut(name, one, size) for one in rest[: 2 if name.endswith("_into") else 1])
    if not rest and not named:
        cut = (size,) if name in READS else ()
    first = next(iter(named), "") if not rest else ""
    return (*head, *cut, *rest[len(cut) :]), named | ({first: _cut(name, named[first], size)} if first else {})


def _cut(name: str, argument: Any, size: int) -> Any:
    """A number of bytes, a buffer or what is to be written, made shorter."""
    if argument is None:
        return size
    if isinstance(argument, int):
        return min(argument, size) if argument > 0 or (argument == 0 and not name.endswith("_into")) else size
    return memoryview(argument)[:size] if name in READS else argument[:size]


def every(n: int, error: str) -> str:
    """The rule: every n-th call fails with this error, such as `OSError: EIO`."""
    return f"@{n}+{n} raise({error})"


def after(n: int, error: str) -> str:
    """The rule: n calls work, all later ones fail."""
    return f"@{n + 1}+ raise({error})"


def hanging_after(n: int) -> str:
    """The rule: n calls work, later ones hang until healed."""
    return f"@{n + 1}+ hang"


def broken_store(put: str = "put", get: str = "get") -> dict[str, str]:
    """Rules for a store: no space on put, an input error on get."""
    return {put: "raise(OSError: ENOSPC)", get: "raise(OSError: EIO)"}


def flip_bit(answer: Any) -> Any:
    """For `spoil`: the first byte of an answer of bytes with one bit changed, as a failing disk gives it."""
    if not isinstance(answer, bytes | bytearray) or not answer:
        raise NotArmable(
            f"only an answer of bytes has a bit to flip, not {answer!r}", next_step="give `spoil` another function"
        )
    return bytes([answer[0] ^ 1]) + bytes(answer[1:])
