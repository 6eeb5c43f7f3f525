"""Arm failpoints by name, and put everything back.

    with armed("cas-put-before-write", "@2 raise(OSError: EIO)") as point:
        store.put("k", b"v")
    assert point.fired == 1

Disarmed code is the very object that was there before; armed code has one call more, on the comment's own line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from blackstart.core.randomness import Seed
from blackstart.core.rule import Rule
from blackstart.inprocess import modules, weaving
from blackstart.inprocess.block import Block
from blackstart.inprocess.effects import Answer
from blackstart.inprocess.errors import AlreadyArmed
from blackstart.inprocess.placing import Place
from blackstart.inprocess.point import PROCESS, Point, answering, names_of, shown
from blackstart.inprocess.sites import Site

_points: dict[str, list[Point]] = {}


class armed(Block):
    """A context manager: these failpoints follow this rule inside it; gives the `Point`.

    names: one name or several, which then share one count of hits. scope: "process", or "context" for hits of the
    current context alone: of several tasks or threads, only the one that armed it and what it starts with its context.
    may_miss: a rule that could fire and never did is no error. seed: of the rule's percentages. module: the dotted
    name of a module that is not imported yet; then the call is put in at its import, which reaches module level too.
    Raises UnknownFailpoint, NotArmable, AlreadyArmed, RuleError before anything is changed; NeverFired at the end.
    """

    def __init__(
        self,
        names: str | Sequence[str],
        rule: str | Rule,
        *,
        scope: str = PROCESS,
        may_miss: bool = False,
        seed: int | Seed = 0,
        module: str = "",
    ) -> None:
        of = names_of(names)
        super().__init__(shown(of), lambda: Point(of, rule, seed=seed, scope=scope), may_miss)
        self._module = module

    @contextmanager
    def placed(self, point: Point) -> Iterator[None]:
        """Calls in the code that lives, or in the module when it is imported."""
        try:
            if self._module:
                from blackstart.inprocess import importing

                with importing.expected(self._module, point):
                    yield
            else:
                _arm(point)
                yield
        finally:
            _disarm(point)


def active() -> list[Point]:
    """All that is armed now, each once."""
    return list({id(point): point for points in _points.values() for point in points}.values())


def disarm_everything() -> list[Point]:
    """Disarm whatever is armed, whoever armed it; gives what was."""
    found = active()
    for point in found:
        point.heal()
        _disarm(point)
    return found


def add(point: Point, name: str) -> None:
    """Note that `point` is armed at `name`; AlreadyArmed if another rule holds there for the whole process."""
    here = _points.get(name, [])
    if any(PROCESS in (point.scope, other.scope) for other in here):
        raise AlreadyArmed(
            f"{name!r} is armed already, with {str(here[0].rule)!r}",
            next_step='chain two rules with `->`, or arm both with scope="context"',
        )
    _points.setdefault(name, []).append(point)


def remove(point: Point) -> None:
    """Take back what `add` noted."""
    for name in point.names:
        left = [other for other in _points.get(name, []) if other is not point]
        _points.pop(name, None)
        if left:
            _points[name] = left


def of(name: str) -> list[Point]:
    """The rules that are armed at this name."""
    return _points.get(name, [])


def must_be_there(names: Sequence[str]) -> list[tuple[ModuleType, Site]]:
    """Where these failpoints stand in loaded modules, but for those that are calls; UnknownFailpoint, NotArmable."""
    from blackstart.inprocess import function

    commented = modules.known_sites()
    if any(name not in commented for name in names):
        commented = modules.known_sites(look_again=True)
    called = {name for name in names if name not in commented and function.is_called(name)}
    return [one for name in names if name not in called for one in modules.find(name, commented)]


def _arm(point: Point) -> None:
    with modules.LOCK:
        found = must_be_there(point.names)
        wanted: dict[int, tuple[modules.LiveModule, dict[str, Site]]] = {}
        for module, site in found:
            if id(module) not in wanted:
                wanted[id(module)] = modules.live(module), {}
            wanted[id(module)][1][site.name] = site
        for name in point.names:
            add(point, name)
        for live, sites in wanted.values():
            begun = live.exchange(live.sites | sites, hooks_of)
            if begun:
                point.notes.append(f"calls that had begun before keep the old code until they return: {begun}")


def _disarm(point: Point) -> None:
    with modules.LOCK:
        remove(point)
        names = set(point.names)
        for live, sites in list(modules.everything_armed()):
            left = {name: site for name, site in sites.items() if name in _points}
            if left != sites or not names.isdisjoint(left):
                live.exchange(left, hooks_of)


def hooks_of(site: Site, place: Place) -> weaving.Hooks:
    """What is called at this site, for the rules that are armed there now."""
    points = tuple(_points[site.name])
    store = threading.local()
    answers = any(point.answers for point in points)
    if weaving.is_awaited(place.owner):
        return weaving.Hooks(_in_task(points, store), lambda: store.__dict__.pop("value"), answers)
    reach = points[0].reach if len(points) == 1 else _in_turn(points)
    if answers:
        return weaving.Hooks(answering(reach, store), lambda: store.__dict__.pop("value"), True)
    return weaving.Hooks(reach, _nothing)


def _in_turn(points: tuple[Point, ...]) -> Callable[[], Answer]:
    def reach() -> Answer:
        __tracebackhide__ = True
        for point in points:
            answer = point.reach()
            if answer is not None:
                return answer
        return None

    return reach


def _in_task(points: tuple[Point, ...], store: Any) -> Callable[[], Any]:
    async def reach() -> bool:
        __tracebackhide__ = True
        for point in points:
            answer = await point.reach_in_task()
            if answer is not None:
                store.value = answer[0]
                return True
        return False

    return reach


def _nothing() -> None:
    return None
