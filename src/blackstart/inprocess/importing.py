"""Arming at import: for modules that are not loaded yet, and in child processes.

A finder in front of all others asks them, and gives a module with a wanted failpoint a loader that compiles it with
the calls in it. That file's `.pyc` is neither read nor written. Files without the mark are loaded as ever.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from blackstart.core.verbs import near
from blackstart.inprocess import arming, modules, weaving
from blackstart.inprocess.errors import NotArmable, UnknownFailpoint
from blackstart.inprocess.point import Point
from blackstart.inprocess.sites import MARK, Site, fault_of, places_of, sites_in

# Called with each wanted failpoint that a module brought in.
_seen: list[Callable[[str], None]] = []
# Who needs the finder: the blocks that wait for a module, and a child whose environment asks for it, to its end.
_expecting: list[Point] = []
_installed: list[bool] = []


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module with calls at those of its failpoints that are armed."""

    _module: ModuleType | None = None

    def exec_module(self, module: ModuleType) -> None:
        self._module = module
        super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType | None:
        """The module's code; woven if something in it is armed."""
        if MARK not in self.get_data(self.path) or self._module is None:
            return super().get_code(fullname)
        source = self.get_source(fullname) or ""
        sites = {site.name: site for site in sites_in(source, self.path) if arming.of(site.name)}
        if not sites:
            return super().get_code(fullname)
        with modules.LOCK:
            live = modules.live(self._module)
            woven = weaving.weave(source, self.path, list(sites.values()), arming.hooks_of)
            live.adopt(woven.codes)
            live.sites = sites
        for name in sites:
            for tell in _seen:
                tell(name)
        return woven.codes[0]


class Finder:
    """Asks the other finders, and gives plain source files our loader."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As any finder's; None where nobody else finds it."""
        for finder in sys.meta_path:
            if finder is cls or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if type(spec.loader) is importlib.machinery.SourceFileLoader:
                    spec.loader = Loader(spec.loader.name, spec.loader.path)
                return spec
        return None


def install(tell: Callable[[str], None] | None = None) -> None:
    """Put the finder in front for good; `tell` hears of each armed failpoint that an import brings in."""
    _installed.append(True)
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
    if tell:
        _seen.append(tell)


@contextmanager
def expected(module: str, point: Point) -> Iterator[None]:
    """`point` is armed in this module if it is imported inside the block."""
    if module in sys.modules:
        raise NotArmable(f"module {module} is loaded already", next_step="leave module= out to arm its functions")
    _check_names(module, point)
    try:
        for name in point.names:
            arming.add(point, name)
        _expecting.append(point)
        if Finder not in sys.meta_path:
            sys.meta_path.insert(0, Finder)
        point.notes.append(f"armed for the import of {module}")
        yield
    finally:
        _expecting[:] = [other for other in _expecting if other is not point]
        if not _expecting and not _installed and Finder in sys.meta_path:
            sys.meta_path.remove(Finder)


def _check_names(module: str, point: Point) -> None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        raise NotArmable(f"no module {module!r}", next_step="give its dotted name, as in an import")
    loader: Any = spec.loader
    if type(loader) is not importlib.machinery.SourceFileLoader:
        kind = type(loader).__name__
        raise NotArmable(f"module {module} is loaded by {kind}, not from a plain source file", where=str(spec.origin))
    if fault := fault_of(Path(str(spec.origin))):
        raise NotArmable(f"module {module} cannot be read: {fault}", where=str(spec.origin), next_step="mend it")
    places = places_of(sites_in(loader.get_source(module) or "", str(spec.origin)))
    for name in point.names:
        found: list[Site] = places.get(name, [])
        if len(found) != 1:
            what = f"stands in {len(found)} places" if found else f"is not in {spec.origin}{near(name, places)}"
            raise UnknownFailpoint(f"failpoint {name!r} {what}")
