"""The n-th call of a function, by its dotted path: `armed_call("shop.db.put", "@3 raise(OSError: EIO)")`.

A Python function gets a code object with the same arguments and of the same kind (plain, coroutine, generator), which
calls the hook; so every caller meets it, copies made by `from m import f` included, and no source is needed. Calls
that a function makes of itself are counted too. A function of C has no code to exchange: it is replaced in every
module that holds it, and refused if something else does (a default argument, a class), which the replacement would not
reach.
"""

from __future__ import annotations

import functools
import gc
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType
from typing import Any

from blackstart.core.randomness import Seed
from blackstart.core.rule import Rule
from blackstart.core.verbs import near
from blackstart.inprocess import arming, modules
from blackstart.inprocess.block import Block
from blackstart.inprocess.effects import LINE_VERBS, Answer
from blackstart.inprocess.errors import AlreadyArmed, NotArmable
from blackstart.inprocess.paths import module_of
from blackstart.inprocess.point import PROCESS, Point, names_of

_MARK = "\0call"
_INSTEAD = "wrap the object with Faulty, put a failpoint before the call, or break the system call with `target`"


class armed_call(Block):
    """A context manager: calls of `path` follow this rule; gives the `Point`. Arguments are those of `armed`."""

    def __init__(
        self,
        path: str,
        rule: str | Rule,
        *,
        scope: str = PROCESS,
        may_miss: bool = False,
        seed: int | Seed = 0,
    ) -> None:
        names_of((path,))
        super().__init__(
            path, lambda: Point((path,), rule, seed=seed, scope=scope, can=LINE_VERBS, mechanism="a call"), may_miss
        )
        self._path = path

    @contextmanager
    def placed(self, point: Point) -> Iterator[None]:
        """Other code in the function; for one of C another object in its place."""
        held: _Held | None = None
        try:
            with modules.LOCK:
                arming.add(point, self._path)
                held = _held(self._path)
                held.add(self._path, point)
            yield
        finally:
            with modules.LOCK:
                if held is not None:
                    held.remove(point)
                arming.remove(point)


class _Held:
    """One function, and the rules at it by the path each was armed with: those of several contexts, in any order.

    Its code is exchanged for the first rule and put back after the last.
    """

    # Slots, so that the collector names this object, and no anonymous dict, as a holder of the function.
    __slots__ = ("_armed", "_inner", "function", "rules")

    def __init__(self, function: FunctionType | BuiltinFunctionType) -> None:
        self.function = function
        self.rules: list[tuple[str, Point]] = []
        self._inner = _copy(function) if isinstance(function, FunctionType) else function
        self._armed: Any = (
            _hooked(self._inner, self) if isinstance(self._inner, FunctionType) else _Replaced(self._inner, self)
        )

    def add(self, path: str, point: Point) -> None:
        """One rule more; AlreadyArmed if another path leads here too and one of the two is for the whole process."""
        for other, armed in self.rules:
            if PROCESS in (point.scope, armed.scope):
                raise AlreadyArmed(
                    f"{path} and {other} are one function, which is armed already, with {str(armed.rule)!r}",
                    next_step='chain two rules with `->`, or arm both with scope="context"',
                )
        self.rules = [*self.rules, (path, point)]
        if len(self.rules) == 1:
            _functions[id(self.function)] = self
            if isinstance(self.function, FunctionType):
                self.function.__code__ = self._armed
            else:
                _put(self.function, self._armed)

    def remove(self, point: Point) -> None:
        """One rule less, also where `add` was done by half."""
        self.rules = [(path, other) for path, other in self.rules if other is not point]
        if not self.rules and _functions.pop(id(self.function), None) is not None:
            if isinstance(self.function, FunctionType) and isinstance(self._inner, FunctionType):
                # Failpoints in it may have been armed or disarmed meanwhile: they reached the copy.
                self.function.__code__ = self._inner.__code__
                modules.note_copy()
            else:
                _put(self._armed, self.function)

    def reach(self) -> Answer:
        """One hit, in a thread: of each rule until one answers."""
        __tracebackhide__ = True
        for _, point in self.rules:
            answer = point.reach()
            if answer is not None:
                return answer
        return None

    async def reach_in_task(self) -> Answer:
        """One hit, in a task of asyncio."""
        __tracebackhide__ = True
        for _, point in self.rules:
            answer = await point.reach_in_task()
            if answer is not None:
                return answer
        return None


# By the id of the function, which is held there, so that the id stays its own.
_functions: dict[int, _Held] = {}


def _held(path: str) -> _Held:
    """The function that this path leads to; NotArmable if it has no code and cannot be replaced."""
    found = underlying(resolve(path))
    if isinstance(found, _Replaced):
        found = found.original
    if isinstance(found, FunctionType) and modules.is_ours(found.__code__.co_filename):
        raise NotArmable(
            f"{path} is a part of blackstart, which would break itself", next_step="break what the program calls"
        )
    if isinstance(found, type):
        raise NotArmable(f"{path} is a class and has no Python code", next_step=f"{path}.__init__; or {_INSTEAD}")
    if not isinstance(found, FunctionType | BuiltinFunctionType):
        raise NotArmable(f"{path} is a {type(found).__name__} and has no Python code", next_step=_INSTEAD)
    if id(found) in _functions:
        return _functions[id(found)]
    if isinstance(found, BuiltinFunctionType) and (kinds := _other_holders(found)):
        raise NotArmable(f"{path} is a function of C and also held by: {', '.join(kinds)}", next_step=_INSTEAD)
    return _Held(found)


def resolve(path: str) -> Any:
    """What a dotted path leads to, without running descriptors; NotArmable says which part does not exist."""
    parts = path.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise NotArmable(f"{path!r} is not a dotted path", next_step="write it like shop.db.put")
    begun = module_of(path)
    if begun is None:
        raise NotArmable(f"{path}: no module {parts[0]!r}")
    module, rest = begun
    found: Any = module
    name = module.__name__
    for part in rest:
        try:
            found = inspect.getattr_static(found, part)
        except AttributeError:
            raise NotArmable(f"{path}: {name} has no {part!r}{near(part, dir(found))}") from None
        name = f"{name}.{part}"
    return found


def underlying(found: Any) -> Any:
    """The function inside a static method, class method or property."""
    if isinstance(found, staticmethod | classmethod):
        return found.__func__
    if isinstance(found, property):
        return found.fget
    if isinstance(found, functools.cached_property):
        return found.func
    return found


def _copy(function: FunctionType) -> FunctionType:
    """The same function again, for the hook to call."""
    inner = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    inner.__kwdefaults__ = function.__kwdefaults__
    modules.note_copy()
    return inner


def _hooked(inner: FunctionType, point: _Held) -> CodeType:
    """Code for the function of which `inner` is a copy: it asks `point` first."""
    original = inner.__code__
    if original.co_flags & inspect.CO_ASYNC_GENERATOR:
        hook: Any = _Begun(inner, point)
    elif original.co_flags & inspect.CO_COROUTINE:
        hook = _asynchronous(inner, point)
    elif original.co_flags & inspect.CO_GENERATOR:
        hook = _generating(inner, point)
    else:
        hook = plain(inner, point)
    return _with_hook(original, hook)


def plain(inner: Callable[..., Any], point: _Held) -> Callable[..., Any]:
    """`inner` behind the rule of `point`."""

    def hook(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        answer = point.reach()
        return inner(*arguments, **named) if answer is None else answer[0]

    return hook


def _generating(inner: Callable[..., Any], point: _Held) -> Callable[..., Any]:
    def hook(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        answer = point.reach()
        return inner(*arguments, **named) if answer is None else iter(answer[0])

    return hook


def _asynchronous(inner: Callable[..., Any], point: _Held) -> Callable[..., Any]:
    async def hook(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        answer = await point.reach_in_task()
        return await inner(*arguments, **named) if answer is None else answer[0]

    return hook


class _Begun:
    """What an asynchronous generator asks when it begins: whether a rule ends it there, else for the generator."""

    __slots__ = ("inner", "point")

    def __init__(self, inner: Callable[..., Any], point: _Held) -> None:
        self.inner = inner
        self.point = point

    async def ends(self) -> bool:
        __tracebackhide__ = True
        return await self.point.reach_in_task() is not None


# All that is sent, thrown and closed goes through, as `yield from` does it for other generators.
_THROUGH = f"""
 if await {_MARK!r}.ends():
  return
 _0inner = {_MARK!r}.inner(PASSED)
 try:
  _0value = await _0inner.asend(None)
  while True:
   try:
    _0sent = yield _0value
   except GeneratorExit:
    await _0inner.aclose()
    raise
   except BaseException as _0error:
    _0value = await _0inner.athrow(_0error)
   else:
    _0value = await _0inner.asend(_0sent)
 except StopAsyncIteration:
  return
""".replace("_0", "_blackstart_")


def _with_hook(code: CodeType, hook: Any) -> CodeType:
    """Code with the arguments, kind, name and free variables of `code`, which calls `hook` with its arguments."""
    signature, passed = _arguments(code)
    call = f"{_MARK!r}({passed})"
    kind, body = "def", f"return {call}"
    if code.co_flags & inspect.CO_COROUTINE:
        kind, body = "async def", f"return await {call}"
    elif code.co_flags & inspect.CO_ASYNC_GENERATOR:
        kind, body = "async def", _THROUGH.replace("PASSED", passed)
    elif code.co_flags & inspect.CO_GENERATOR:
        body = f"return (yield from {call})"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = compile(f"{kind} function({signature}):\n {body}", code.co_filename, "exec", dont_inherit=True)
    made = next(one for one in module.co_consts if isinstance(one, CodeType))
    return made.replace(
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_firstlineno=code.co_firstlineno,
        co_freevars=code.co_freevars,
        co_consts=tuple(hook if one == _MARK else one for one in made.co_consts),
    )


def _arguments(code: CodeType) -> tuple[str, str]:
    """The parameter list of `code` without its defaults, and the arguments that pass all on."""
    positional, keyword = code.co_argcount, code.co_kwonlyargcount
    names = list(code.co_varnames)
    signature, passed = names[:positional], names[:positional]
    if code.co_posonlyargcount:
        signature = [*signature[: code.co_posonlyargcount], "/", *signature[code.co_posonlyargcount :]]
    rest = names[positional + keyword :]
    if code.co_flags & inspect.CO_VARARGS:
        star = rest.pop(0)
        signature, passed = [*signature, f"*{star}"], [*passed, f"*{star}"]
    elif keyword:
        signature = [*signature, "*"]
    for name in names[positional : positional + keyword]:
        signature, passed = [*signature, name], [*passed, f"{name}={name}"]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        signature, passed = [*signature, f"**{rest[0]}"], [*passed, f"**{rest[0]}"]
    return ", ".join(signature), ", ".join(passed)


class _Replaced:
    """Stands for a function of C: called in its stead, equal to it where programs compare or keep sets of functions."""

    # Slots, so that the collector names this object, and no anonymous dict, as the holder of the original.
    __slots__ = ("__name__", "_point", "original")

    def __init__(self, original: BuiltinFunctionType, point: _Held) -> None:
        self.__name__ = original.__name__
        self.original = original
        self._point = point

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        answer = self._point.reach()
        return self.original(*arguments, **named) if answer is None else answer[0]

    def __eq__(self, other: object) -> bool:
        return other is self or other is self.original

    def __hash__(self) -> int:
        return hash(self.original)


def _other_holders(original: object) -> list[str]:
    """What holds this object and is no module, so that a replacement could not reach it.

    A closure here would be one more, hence the plain loop; the arguments of a class would be, hence before `_Held`.
    """
    spaces = {id(vars(module)) for module in list(sys.modules.values()) if hasattr(module, "__dict__")}
    kinds = set()
    for holder in gc.get_referrers(original):
        # A set of functions is looked up by equality, which the replacement keeps.
        if id(holder) not in spaces and not isinstance(holder, set | frozenset | FrameType | _Replaced | _Held):
            kinds.add(type(holder).__name__)
    # The collector does not name the namespace of every class.
    waiting: list[type] = [object]
    while waiting:
        kind = waiting.pop()
        waiting += type.__subclasses__(kind)
        for value in list(vars(kind).values()):
            if value is original:
                kinds.add(f"class {kind.__name__}")
    return sorted(kinds)


def _put(old: object, new: object) -> None:
    """Let every name of every module that leads to `old` lead to `new`."""
    for module in list(sys.modules.values()):
        space = getattr(module, "__dict__", {})
        for name, value in list(space.items()):
            if value is old:
                space[name] = new
