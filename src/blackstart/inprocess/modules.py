"""Which loaded modules have failpoints, and the exchange of their code.

The plain source is compiled too and must be equal to what is loaded: equality of code covers its bytecode, lines,
names and constants. If it is not, the file was edited since the import or something rewrote it, and arming by line
numbers would break another line than the one that is read. All is checked before the first function is touched.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
import sysconfig
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from blackstart.core.verbs import near
from blackstart.inprocess import holders, weaving
from blackstart.inprocess.errors import NotArmable, UnknownFailpoint
from blackstart.inprocess.placing import Place
from blackstart.inprocess.sites import MARK, Site, fault_of, places_of, read_source, sites_in

# One at a time arms or disarms; hits never take it.
LOCK = threading.RLock()
# A test runner that rewrites modules says how: module, path, source -> what it did to the tree, or None for nothing.
rewriters: list[Callable[[ModuleType, str, str], Callable[[ast.Module], None] | None]] = []

_STANDARD = tuple({sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["platstdlib"]})
_PACKAGES = tuple({sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]})
_OURS = str(Path(__file__).parents[1])
_read: dict[str, tuple[object, list[Site]]] = {}
# By name and path: a file that was loaded under two names is two modules.
_live: dict[tuple[str, str], LiveModule] = {}
# How many functions with the code of another were made by arming its calls.
_copies = [0]


def note_copy() -> None:
    """A function got the code of another one: searches made before do not know it."""
    _copies[0] += 1


def source_of(module: ModuleType) -> str | None:
    """The text a module was made of, from its loader or its file; None if there is none."""
    loader = getattr(module, "__loader__", None)
    path = getattr(module, "__file__", None) or ""
    if path.endswith(".py") and Path(path).is_file():
        return read_source(Path(path)) or None
    try:
        return loader.get_source(module.__name__)  # type: ignore[union-attr,no-any-return]
    except (AttributeError, ImportError, OSError):
        return None


def known_sites(look_again: bool = False) -> dict[str, list[tuple[ModuleType, Site]]]:
    """Name -> where it stands in the loaded modules. The standard library and blackstart itself have none.

    look_again: also at files that had none when they were read.
    """
    found: dict[str, list[tuple[ModuleType, Site]]] = {}
    seen: set[int] = set()
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or id(module) in seen or not may_have_sites(path):
            continue
        seen.add(id(module))
        if not look_again and path in _read and not _read[path][1]:
            continue
        for name, sites in places_of(_sites_of(module, path)).items():
            found.setdefault(name, []).extend((module, site) for site in sites)
    return found


def is_ours(path: str) -> bool:
    """Whether this file is one of blackstart's own."""
    return _is_below(path, (_OURS,))


def may_have_sites(path: str) -> bool:
    """Whether a file may be one of a program: neither the standard library's nor blackstart's own."""
    if is_ours(path) or path.endswith(".so"):
        return False
    return _is_below(path, _PACKAGES) or not _is_below(path, _STANDARD)


def _is_below(path: str, directories: tuple[str, ...]) -> bool:
    return path.startswith(tuple(directory + os.sep for directory in directories))


def _sites_of(module: ModuleType, path: str) -> list[Site]:
    try:
        status = Path(path).stat()
        version: object = (status.st_mtime_ns, status.st_size)
    except OSError:
        version = None
    if path in _read and _read[path][0] == version:
        return _read[path][1]
    if version is not None and path.endswith(".py") and MARK not in Path(path).read_bytes():
        sites: list[Site] = []
    else:
        sites = sites_in(source_of(module) or "", path)
    _read[path] = (version, sites)
    return sites


def find(name: str, known: dict[str, list[tuple[ModuleType, Site]]]) -> list[tuple[ModuleType, Site]]:
    """The one place where this failpoint stands, in each module that was loaded of its file.

    Else UnknownFailpoint with the nearest name, or NotArmable.
    """
    found = known.get(name, [])
    places = list(dict.fromkeys(str(site) for _, site in found))
    if len(places) > 1:
        both = " and ".join(places[:2])
        raise NotArmable(
            f"failpoint {name!r} stands in {len(places)} places: {both}", next_step="give each its own name"
        )
    if not found:
        nearest = near(name, known)
        for suggestion in known if nearest else ():
            if f"{suggestion!r}" in nearest:
                nearest = nearest.removesuffix("?") + f" ({known[suggestion][0][1]})?"
        raise UnknownFailpoint(
            f"no failpoint {name!r}{nearest}{_unreadable(name)}",
            next_step="write `# failpoint: NAME` in the source; import the module before its failpoint is armed, "
            "or name it (module=...) to arm it at its import" + _without_source(),
        )
    if found[0][1].fault:
        raise NotArmable(f"{name!r} cannot be the name of a failpoint: {found[0][1].fault}", where=str(found[0][1]))
    return found


def _unreadable(name: str) -> str:
    """The files of loaded modules that have this name and can no longer be read, each with the reason."""
    said = {}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.endswith(".py") and may_have_sites(path) and Path(path).is_file():
            data = Path(path).read_bytes()
            if MARK in data and name.encode() in data and (fault := fault_of(Path(path))):
                said[path] = f"; {path} cannot be read: {fault}"
    return "".join(said.values())


def _without_source() -> str:
    """The modules that may have it, for all that anybody can read: delivered as .pyc, or their file is gone."""
    names = []
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        is_code = isinstance(path, str) and path.endswith((".py", ".pyc")) and may_have_sites(path)
        if is_code and not Path(str(path)).with_suffix(".py").exists() and not source_of(module):
            names.append(name)
    return f"; loaded without source: {', '.join(sorted(names)[:5])}" if names else ""


class LiveModule:
    """A module that is loaded, with the code that belongs to it at each moment."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.source = source_of(module) or ""
        self.path = str(getattr(module, "__file__", module.__name__))
        self.sites: dict[str, Site] = {}
        self._rewrite = next(
            (made for made in (how(module, self.path, self.source) for how in rewriters) if made), None
        )
        self._plain = weaving.plain(self.source, self.path, self._rewrite)
        self._original: dict[int, CodeType] = {}
        self._mismatched: set[str] = set()
        # Every code object that was ever put in, by index: closures made of it may be alive.
        self._woven: dict[int, list[CodeType]] = {}
        self._found: dict[int, list[weakref.ref[FunctionType]]] = {}
        self._copies_seen = list(_copies)
        self._in_functions = {
            index + offset
            for index, code in enumerate(self._plain)
            if self._is_function(index)
            for offset in range(1, len(weaving.every(code)))
        }
        self._learn(holders.functions_of(module))

    def _learn(self, functions: list[FunctionType]) -> None:
        by_key: dict[tuple[str, int], list[int]] = {}
        for index, code in enumerate(self._plain):
            by_key.setdefault((code.co_qualname, code.co_firstlineno), []).append(index)
        for function in functions:
            code = function.__code__
            for index in by_key.get((code.co_qualname, code.co_firstlineno), []):
                if self._plain[index] == code:
                    inner = weaving.every(code)
                    self._original.update({index + offset: one for offset, one in enumerate(inner)})
                else:
                    self._mismatched.add(code.co_qualname)

    def adopt(self, woven: list[CodeType]) -> None:
        """The module was imported with this code in it; the plain code is what it goes back to."""
        self._original = dict(enumerate(self._plain))
        for index, code in enumerate(woven):
            if code != self._plain[index]:
                self._woven.setdefault(index, []).append(code)

    def exchange(self, sites: dict[str, Site], hooks: Callable[[Site, Place], weaving.Hooks]) -> int:
        """Put calls at these sites and at no others; how many calls go on with what was there before."""
        woven = weaving.Woven(self._plain, {})
        if sites:
            woven = weaving.weave(self.source, self.path, list(sites.values()), hooks, self._rewrite)
        changed = [index for index, code in enumerate(woven.codes) if index and code != self._plain[index]]
        # What no name leads to is looked for among all objects; rare, and slow.
        if any(index not in self._original for index in woven.owners.values() if self._is_function(index)):
            self._learn(holders.all_functions_of(self.module))
        before = {index: self._codes_at(index) for index in {*changed, *self._woven}}
        found = self._holders(before)
        index_of = {id(code): index for index, codes in before.items() for code in codes}
        held = {index_of[id(function.__code__)] for function in found}
        enclosing = weaving.enclosing(woven.codes[0])
        for name in sites.keys() - self.sites.keys():
            self._check(sites[name], woven, enclosing, held)
        # Noted before it is done: who is interrupted in the middle finds here what there is to take back.
        self.sites = self.sites | sites
        for index in changed:
            self._woven.setdefault(index, []).append(woven.codes[index])
        for function in found:
            index = index_of[id(function.__code__)]
            function.__code__ = woven.codes[index] if index in changed else self._original[index]
        if not sites:
            self._woven = {index: codes[-1:] for index, codes in self._woven.items()}
        self.sites = dict(sites)
        return holders.begun([code for index in changed for code in before[index]])

    def _holders(self, before: dict[int, list[CodeType]]) -> list[FunctionType]:
        """The functions with this code. Searched for once, unless more can be born: functions made in functions."""
        wanted = {id(code) for codes in before.values() for code in codes}
        if not any(map(self._may_be_born, before)) and _copies == self._copies_seen:
            known = [ref() for index in before for ref in self._found.get(index, [])]
            functions = [one for one in known if one is not None and id(one.__code__) in wanted]
            if len(functions) == len(known) and all(index in self._found for index in before):
                return functions
        found = holders.holders_of(code for codes in before.values() for code in codes)
        if _copies != self._copies_seen:
            self._found.clear()
            self._copies_seen = list(_copies)
        with_code: dict[int, list[weakref.ref[FunctionType]]] = {}
        for one in found:
            with_code.setdefault(id(one.__code__), []).append(weakref.ref(one))
        for index, codes in before.items():
            self._found[index] = [ref for code in codes for ref in with_code.get(id(code), [])]
        return found

    def _may_be_born(self, index: int) -> bool:
        """Whether a function with this code can come at any time; what stands in no function comes at the import."""
        return index in self._in_functions or (self._is_function(index) and not self._found.get(index))

    def _is_function(self, index: int) -> bool:
        return bool(self._plain[index].co_flags & inspect.CO_NEWLOCALS)

    def _codes_at(self, index: int) -> list[CodeType]:
        original = [self._original[index]] if index in self._original else []
        return original + self._woven.get(index, [])

    def _check(self, site: Site, woven: weaving.Woven, enclosing: list[int], held: set[int]) -> None:
        """Some live function must run the line of this failpoint, or make the function that does."""
        if site.name not in woven.owners:
            raise NotArmable(
                f"failpoint {site.name!r} stands where nothing comes by: the compiler leaves its line out",
                where=str(site),
                next_step="is it behind a `return`, `raise`, `break` or `continue`? put it before",
            )
        around: list[int] = []
        index = woven.owners[site.name]
        while index > 0:
            around.append(index)
            index = enclosing[index]
        if not around or not any(map(self._is_function, around)):
            raise NotArmable(
                f"failpoint {site.name!r} is in the body of a module or class, which has run already",
                where=str(site),
                next_step="arm it before the import with module=..., or in a child process",
            )
        if held.intersection(around):
            return
        if self._mismatched:
            what = (
                f"the code that runs is not what stands in {site.path}: edited since its import, or rewritten by a hook"
            )
            raise NotArmable(f"failpoint {site.name!r}: {what}", where=str(site), next_step="start the program anew")
        raise NotArmable(
            f"failpoint {site.name!r}: no live function runs {woven.codes[around[0]].co_qualname}",
            where=str(site),
            next_step="was it deleted, or its file edited since the import? start the program anew",
        )


def live(module: ModuleType) -> LiveModule:
    """The record of a module; NotArmable if it has no source."""
    path = str(getattr(module, "__file__", module.__name__))
    known = _live.get((module.__name__, path))
    if known is None or known.module is not module or (not known.sites and known.source != source_of(module)):
        if source_of(module) is None:
            raise NotArmable(
                f"module {module.__name__} has no source", next_step="break its calls by their dotted path"
            )
        try:
            known = _live[module.__name__, path] = LiveModule(module)
        except SyntaxError:
            raise NotArmable(f"{path} cannot be read: {fault_of(Path(path))}", next_step="mend it") from None
    return known


def everything_armed() -> Iterator[tuple[LiveModule, dict[str, Any]]]:
    """The modules that have a call in them now."""
    yield from ((one, dict(one.sites)) for one in _live.values() if one.sites)
