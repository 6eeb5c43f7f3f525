"""`Faulty(target, rule)`: any object, of Python or C, whose calls fail by rule. It is handed in instead.

    disk = Faulty(store, {"put": "raise(OSError: ENOSPC)", "get": "@2 raise(OSError: EIO)"})
    disk.blackstart.switch("off")        # healthy again, in mid-test
    disk.blackstart.fired                # the only name that does not lead to the object itself

A short read is legal: `return(3)` on a read asks the object for at most three bytes and loses none. A torn write
(`torn_bytes`) writes so many bytes, then raises.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from blackstart.core.randomness import Seed
from blackstart.core.rule import Term
from blackstart.core.verbs import near
from blackstart.inprocess.errors import NotArmable
from blackstart.inprocess.point import Point

READS = frozenset({"read", "read1", "recv", "readinto", "recv_into"})
WRITES = frozenset({"write", "send"})
_VERBS = frozenset("off raise return sleep delay hang yield print pause kill exit call panic".split())
_SPECIAL = (
    "__len__ __iter__ __next__ __getitem__ __setitem__ __delitem__ __contains__ __enter__ __exit__ __call__ __bool__ "
    "__aenter__ __aexit__ __aiter__ __anext__ __eq__ __lt__ __hash__ __str__ __repr__ __int__ __float__ __index__ "
    "__add__ __sub__ __mul__ __truediv__ __fspath__ __bytes__"
).split()
# Asked of the object itself: a test that prints or compares it must not use up a hit.
_UNCOUNTED = frozenset({"__repr__", "__str__", "__hash__", "__eq__", "__bool__", "__len__"})


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
        self.switch(rule)

    def switch(self, rule: str | Mapping[str, str]) -> None:
        """Follow another rule from now on; who hangs in the old one goes on. Counts of hits begin anew."""
        if isinstance(rule, Mapping):
            for name in rule:
                if not hasattr(self.target, name):
                    names = [known for known in dir(self.target) if not known.startswith("_")]
                    raise NotArmable(f"{type(self.target).__name__} has no {name!r}{near(name, names)}")
        rules = dict(rule) if isinstance(rule, Mapping) else {"": rule}
        kind = type(self.target).__name__
        made = {
            name: Point((f"{kind}.{name}".rstrip("."),), text, seed=self._seed, can=_VERBS, mechanism="an object")
            for name, text in rules.items()
        }
        old, self._points = self._points, made
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

    def point(self, name: str) -> Point | None:
        """The rule for calls of `name`."""
        return self._points.get(name) or self._points.get("")


class Faulty:
    """A stand-in for `target`; isinstance holds, attributes are its own, calls follow the rule.

    rule: for all its calls, which then share one count, or one for each method. seed: of the percentages.
    torn_bytes: a write that is to raise writes so many bytes first. spoil: what a `return` without a value makes of
    the object's own answer, such as a bit flipped. Its control is the attribute `blackstart`.
    """

    blackstart: Control

    def __new__(cls, target: Any, *_: Any, **__: Any) -> Faulty:
        # Operators look at the type, never at __getattr__: each object gets a class with those that it has.
        special = {name: _special(name) for name in _SPECIAL if hasattr(type(target), name)}
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

    def __getattr__(self, name: str) -> Any:
        return _wrapped(self.blackstart, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.blackstart.target, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.blackstart.target, name)


def _special(name: str) -> Any:
    def method(self: Faulty, *arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        control = object.__getattribute__(self, "blackstart")
        if name in _UNCOUNTED:
            return getattr(control.target, name)(*arguments, **named)
        return _wrapped(control, name)(*arguments, **named)

    return method


def _wrapped(control: Control, name: str) -> Any:
    real = getattr(control.target, name)
    if not callable(real) or isinstance(real, type):
        return real
    if inspect.iscoroutinefunction(real):

        async def in_task(*arguments: Any, **named: Any) -> Any:
            __tracebackhide__ = True
            term, point = _counted(control, name)
            if term is None or point is None:
                return await real(*arguments, **named)
            size = _bytes(name, term)
            if size is not None:
                return await real(*_shortened(name, arguments, size), **named)
            if _is_torn(control, name, term):
                await real(*_shortened(name, arguments, control.torn_bytes or 0), **named)
            answer, spoil = await point.do_in_task(term), _spoil(control, term)
            if answer is None:
                return await real(*arguments, **named)
            return answer[0] if spoil is None else spoil(await real(*arguments, **named))

        return in_task

    def call(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        term, point = _counted(control, name)
        if term is None or point is None:
            return real(*arguments, **named)
        size = _bytes(name, term)
        if size is not None:
            return real(*_shortened(name, arguments, size), **named)
        if _is_torn(control, name, term):
            real(*_shortened(name, arguments, control.torn_bytes or 0), **named)
        answer, spoil = point.do(term), _spoil(control, term)
        if answer is None:
            return real(*arguments, **named)
        return answer[0] if spoil is None else spoil(real(*arguments, **named))

    return call


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
    return control.torn_bytes is not None and name in WRITES and term.verb in ("raise", "panic")


def _spoil(control: Control, term: Term) -> Callable[[Any], Any] | None:
    return control.spoil if term.verb == "return" and term.argument is None else None


def _shortened(name: str, arguments: tuple[Any, ...], size: int) -> tuple[Any, ...]:
    """The arguments of a call for at most `size` bytes."""
    if not arguments:
        return (size,) if name in READS else arguments
    first = arguments[0]
    if isinstance(first, int):
        return (min(first, size) if first >= 0 else size, *arguments[1:])
    if first is None:
        return (size, *arguments[1:])
    return (memoryview(first)[:size] if name in READS else first[:size], *arguments[1:])


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
