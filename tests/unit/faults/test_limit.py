"""Kind limit: just below what the clean run used, never below what it needs to start."""

from __future__ import annotations

import resource
import subprocess

import msgspec
import pytest

from blackstart.core.history import Life
from blackstart.faults import AnyFault
from blackstart.faults.limit import DESCRIPTORS, MEMORY, PROCESSES, SIZE, Limit, candidates

from .build import CONFIG, LIBRARY, NOTES, atomic_rewrite, calibration, clean, file, trace
from .scenes import Caller, conducted, scene


def limits(run: object, **more: object) -> list[tuple[str, int]]:
    one = msgspec.structs.replace(clean(run), **more)  # type: ignore[arg-type]
    found = [c.fault for c in candidates(one, calibration(None, one)) if not c.crash]
    return [(f.what, f.most) for f in found if isinstance(f, Limit)]


def test_descriptors_only_beyond_those_of_the_start() -> None:
    run = trace(("read", LIBRARY, {"fd": 5}), ("read", CONFIG, {"fd": 5}), ("read", NOTES, {"fd": 9}))
    assert limits(run, versions={}) == [(DESCRIPTORS, 9)]
    assert limits(run[:2], versions={}) == []


def test_the_usual_low_limit_where_a_program_has_more() -> None:
    run = trace(("read", CONFIG, {"fd": 5}), ("read", NOTES, {"fd": 200}))
    assert limits(run, versions={}) == [(DESCRIPTORS, 200), (DESCRIPTORS, 64)]


def test_the_largest_file_that_changes() -> None:
    versions = {NOTES: (file(100), file(300)), CONFIG: (file(5000),)}
    assert limits(atomic_rewrite(), versions=versions) == [(SIZE, 299), (SIZE, 150)]
    assert limits(atomic_rewrite(), versions={CONFIG: (file(5000),)}) == []


def test_processes_all_but_the_last_and_none() -> None:
    run = trace(("clone", ""), ("clone3", ""), ("vfork", ""))
    assert limits(run, versions={}) == [(PROCESSES, 2), (PROCESSES, 0)]
    assert limits(run[:1], versions={}) == [(PROCESSES, 0)]


def test_memory_between_what_the_start_and_what_the_work_took() -> None:
    page = 4096
    assert limits((), versions={}, memory_bytes=(100 * page, 200 * page)) == [
        (MEMORY, 199 * page),
        (MEMORY, 150 * page),
    ]
    assert limits((), versions={}, memory_bytes=(100 * page, 101 * page)) == []
    assert limits((), versions={}) == []


def test_recovery_too() -> None:
    one = clean(atomic_rewrite())
    late = [c.fault for c in candidates(one, calibration(None, one)) if c.crash]
    assert late == [Limit(what=SIZE, most=209, phase="restart")]


def test_it_is_set_at_the_exec_of_the_target_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(resource, "prlimit", lambda *given: asked.append(given))
    one = scene()
    with pytest.raises(KeyError), Limit(what=SIZE, most=10).inject(one):
        refused, start = one.tampers
        assert (refused.match.short, str(start.rule), start.match.call) == (SIZE, "@1 delay(0s)", "execve|execveat")
        assert start.act is not None
        assert start.act(Caller(77)) == (True, "")
        raise KeyError
    assert asked == [(77, resource.RLIMIT_FSIZE, (10, 10))]
    assert one.tampers == []


def test_processes_are_refused_by_the_gate() -> None:
    (order,) = Limit(what=PROCESSES, most=2).tampers()
    assert str(order.rule) == "@3+ raise(OSError: EAGAIN)"


def test_it_fired_only_if_something_was_refused() -> None:
    fault = Limit(what=DESCRIPTORS, most=64)
    assert fault.account(conducted((1, "")), 0).fired == 0
    account = fault.account(conducted((1, ""), (0, ""), (0, "")), 0)
    assert (account.fired, account.note) == (2, "2 calls refused")
    assert account.operation is not None


@pytest.mark.parametrize("what", [DESCRIPTORS, MEMORY, SIZE, PROCESSES])
def test_json_and_text(what: str) -> None:
    fault = Limit(what=what, most=7, phase="restart")
    assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault
    assert str(fault).startswith("at most 7 ") and str(fault).endswith(" during recovery")


def of_service(run: object) -> list[Limit]:
    one = msgspec.structs.replace(clean(run), versions={}, life=Life(ready_s=1.0))  # type: ignore[arg-type]
    base = msgspec.structs.replace(calibration(None, one), is_service=True)
    return [c.fault for c in candidates(one, base) if isinstance(c.fault, Limit)]


def test_a_service_gets_no_more_than_it_has_when_it_is_ready() -> None:
    run = trace(("read", CONFIG, {"fd": 5}), ("accept4", "", {"at_s": 2.0}), ("read", NOTES, {"fd": 90, "at_s": 2.0}))
    assert [(f.what, f.most, f.heals) for f in of_service(run)] == [
        (DESCRIPTORS, 0, True),
        (DESCRIPTORS, 58, True),
        (MEMORY, 0, True),
    ]
    assert str(of_service(run)[0]) == "no more open descriptors than when it is ready"
    assert of_service(run[:1]) == []


def test_a_soft_limit_comes_back_to_children_too() -> None:
    """A child that was born under it has it as well; one that set its own keeps that."""
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    try:
        first, born, own = (child.pid for child in children)
        one = scene()
        living = [first]
        one.processes = lambda: living
        before = resource.prlimit(first, resource.RLIMIT_NOFILE)
        with Limit(what=DESCRIPTORS, most=2, heals=True).inject(one):
            assert len(one.tampers) == 1 and one.when_ready[0]()
            limited = resource.prlimit(first, resource.RLIMIT_NOFILE)
            assert limited == (3 + 2, before[1])
            resource.prlimit(born, resource.RLIMIT_NOFILE, limited)
            resource.prlimit(own, resource.RLIMIT_NOFILE, (50, before[1]))
            living += [born, own]
        assert [resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] for pid in (first, born, own)] == [
            before[0], before[0], 50
        ]  # fmt: skip
        assert one.when_ready == []
    finally:
        for child in children:
            child.kill()
            child.wait()
