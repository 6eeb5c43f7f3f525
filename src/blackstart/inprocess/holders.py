"""Which live functions hold a code object.

Two steps: the names of a module lead to its code objects, then the garbage collector names whoever refers to them.
That finds copies made by `from m import f`, stored methods and closures, and costs a fifth of looking at every object.
Objects that `gc.freeze` hid are looked at too.
"""

from __future__ import annotations

import functools
import gc
import inspect
import sys
from collections.abc import Iterable, Sequence
from types import AsyncGeneratorType, CellType, CodeType, CoroutineType, FunctionType, GeneratorType, ModuleType
from typing import Any

_MANY = 50
_SUSPENDABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_PREFIXES = {GeneratorType: "gi", CoroutineType: "cr", AsyncGeneratorType: "ag"}


def functions_of(module: ModuleType) -> list[FunctionType]:
    """The functions made by this module's code that its names lead to, through classes, wrappers and closures."""
    names = vars(module)
    waiting: list[Any] = list(names.values())
    seen: set[int] = set()
    found = []
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, FunctionType):
            if one.__globals__ is names:
                found.append(one)
            waiting += [cell.cell_contents for cell in one.__closure__ or () if cell != CellType()]
        waiting += _inside(one, module.__name__)
    return found


def _inside(one: Any, module: str) -> list[Any]:
    kind = type(one)
    if kind in (staticmethod, classmethod):
        return [one.__func__]
    if kind is property:
        return [one.fget, one.fset, one.fdel]
    if kind is functools.partial or isinstance(one, functools.cached_property):
        return [one.func]
    if isinstance(one, type):
        return list(vars(one).values()) if one.__module__ == module else []
    # Not getattr: an object of the program may answer any name.
    wrapped = one.__dict__.get("__wrapped__") if kind is FunctionType else None
    if kind is functools._lru_cache_wrapper:
        wrapped = one.__wrapped__
    return [wrapped] if wrapped is not None else []


def all_functions_of(module: ModuleType) -> list[FunctionType]:
    """Every live function of a module, reachable by name or not; looks at every object."""
    names = vars(module)
    return [one for one in _unfrozen(gc.get_objects) if type(one) is FunctionType and one.__globals__ is names]


def holders_of(codes: Iterable[CodeType]) -> list[FunctionType]:
    """Every live function whose code is one of these objects."""
    wanted = list(codes)
    known = {id(code) for code in wanted}
    if not wanted:
        return []
    return [one for one in _referrers(wanted) if type(one) is FunctionType and id(one.__code__) in known]


def begun(codes: Sequence[CodeType]) -> int:
    """How many calls of one of these code objects are under way, in all threads; they keep it until they return."""
    known = {id(code) for code in codes}
    count = _suspended([code for code in codes if code.co_flags & _SUSPENDABLE])
    for top in sys._current_frames().values():
        frame = top
        while frame is not None:
            count += id(frame.f_code) in known
            frame = frame.f_back  # type: ignore[assignment]
    return count


def _suspended(codes: Sequence[CodeType]) -> int:
    """How many generators and coroutines made of one of these, running ones left out, have not come to their end."""
    if not codes:
        return 0
    known = {id(code) for code in codes}
    count = 0
    for one in _referrers(codes):
        prefix = _PREFIXES.get(type(one))
        if prefix and id(getattr(one, f"{prefix}_code")) in known:
            count += getattr(one, f"{prefix}_frame") is not None and not getattr(one, f"{prefix}_running")
    return count


def _referrers(codes: Sequence[CodeType]) -> list[Any]:
    """The objects that refer to these, and perhaps others."""
    # The collector compares each reference with each code: of many codes, a look at every object is the shorter way.
    return _unfrozen(gc.get_objects if len(codes) > _MANY else functools.partial(gc.get_referrers, *codes))


def _unfrozen(look: Any) -> list[Any]:
    if not gc.get_freeze_count():
        return list(look())
    gc.unfreeze()
    try:
        return list(look())
    finally:
        gc.freeze()
