"""A good program is never accused: whatever clean runs did, doing the same again fails no oracle."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blackstart.core.calibration import Acknowledgement, Calibration, CleanRun, Mask
from blackstart.core.history import EXITED, KILLED, End, History, Injected, Output, Run
from blackstart.core.masking import BEFORE
from blackstart.core.reading import FileState
from blackstart.core.trace import Operation
from blackstart.core.verdict import FAILED, UNKNOWN
from blackstart.oracles import judge_all
from blackstart.probes.content import read

# Other work on the machine must not fail a property.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FILES = ("/d/a.json", "/d/b.txt", "/d/c.bin")
scalars = st.integers(-3, 9) | st.text("ab 1", max_size=5)
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab1", max_size=2), inner, max_size=3)
)
data = st.one_of(
    st.none(),
    values.map(lambda value: json.dumps(value).encode()),
    st.lists(st.text("ab 1", max_size=5)).map(lambda lines: "\n".join(lines).encode()),
    st.binary(max_size=40),
)


def state(path: str, content: bytes | None) -> FileState | None:
    if content is None:
        return None
    known = read(content, path)
    return FileState(path=path, size=len(content), digest=known.digest, content=known)


disks = st.fixed_dictionaries({path: data.map(lambda d, p=path: state(p, d)) for path in FILES})  # type: ignore[misc]
Disk = dict[str, FileState | None]


def here(disk: Disk) -> dict[str, FileState]:
    return {path: found for path, found in disk.items() if found is not None}


@st.composite
def chains(draw: st.DrawFn, measured: int = 0) -> Calibration:
    """A chain of three clean runs with any versions, any roles, and re-runs from some of the boundaries."""
    disk: Disk = draw(disks)
    runs = []
    for start in ("S0", "S1", "S2"):
        steps = [disk, *draw(st.lists(disks, min_size=1, max_size=3))]
        disk = steps[-1]
        said = "".join(f"step {n}\n" for n in range(1, len(steps)))
        events = tuple(Acknowledgement(nth=n, versions=dict.fromkeys(FILES, n)) for n in range(1, len(steps)))
        versions = {path: tuple(step[path] for step in steps) for path in FILES}
        runs.append(
            CleanRun(
                start=start,
                code=0,
                elapsed_s=0.1,
                stdout=said,
                files=here(disk),
                versions=versions,
                acknowledgements=events,
            )
        )
    reruns = draw(st.lists(st.tuples(st.sampled_from(range(1, 4)), disks), min_size=measured, max_size=2))
    entries = []
    for index, after in reruns:
        before = {path: runs[1].versions[path][min(index, len(runs[1].versions[path]) - 1)] for path in FILES}
        entries.append(here({**{BEFORE + path: found for path, found in before.items()}, **after}))
    roles = {path: draw(st.sampled_from(["state", "output", "cache", "log", "config"])) for path in FILES}
    return Calibration(
        mask=Mask(), roles=roles, chain=tuple(runs), slowest_s=0.1, nulls=10, boundary_reruns={"S1": tuple(entries)}
    )


def run(phase: str, disk: dict[str, FileState], said: str, how: str = EXITED) -> Run:
    outputs = (Output(stream="stdout", data=said.encode()),) if said else ()
    return Run(phase=phase, end=End(how=how, elapsed_s=0.1), outputs=outputs, image=disk)


def accused(history: History, yardstick: Calibration) -> list[str]:
    verdicts = judge_all(history, yardstick)
    assert not [v.why for v in verdicts if v.outcome == UNKNOWN and "crashed" in v.why]
    return [f"{v.oracle}: {v.consequence}: {v.evidence}" for v in verdicts if v.outcome == FAILED]


@unhurried
@given(chains())
def test_a_history_equal_to_the_clean_runs_fails_no_oracle(yardstick: Calibration) -> None:
    clean, again = yardstick.chain[1], yardstick.chain[2]
    runs = (run("run", clean.files, clean.stdout), run("restart", again.files, again.stdout))
    assert accused(History(start="S1", kind="null", runs=runs), yardstick) == []


KILL = Injected(fault="kill", kind="kill", fired=1, operation=Operation(index=0, call="write", path="/d/a.json"))


def killed(yardstick: Calibration, disk: dict[str, FileState], said: str, after: dict[str, FileState]) -> History:
    restart = run("restart", after, yardstick.chain[1].stdout)
    return History(start="S1", kind="kill", injected=(KILL,), runs=(run("run", disk, said, KILLED), restart))


@unhurried
@given(chains())
def test_a_kill_at_either_end_and_its_clean_rerun_fail_no_oracle(yardstick: Calibration) -> None:
    clean, again = yardstick.chain[1], yardstick.chain[2]
    start = here({path: versions[0] for path, versions in clean.versions.items()})
    assert accused(killed(yardstick, start, "", clean.files), yardstick) == []
    assert accused(killed(yardstick, clean.files, clean.stdout, again.files), yardstick) == []


@unhurried
@given(chains(measured=1), st.data())
def test_a_kill_at_a_measured_boundary_and_its_rerun_fail_no_oracle(
    yardstick: Calibration, data: st.DataObject
) -> None:
    entry = data.draw(st.sampled_from(yardstick.boundary_reruns["S1"]))
    before = {p.removeprefix(BEFORE): s for p, s in entry.items() if p.startswith(BEFORE)}
    after = {p: s for p, s in entry.items() if not p.startswith(BEFORE)}
    assert accused(killed(yardstick, before, "", after), yardstick) == []


@unhurried
@given(chains(), disks, disks, st.sampled_from(["kill", "errno", "file", "db", "signal"]), st.integers(0, 2))
def test_no_oracle_crashes_on_any_history(
    yardstick: Calibration, first: Disk, second: Disk, kind: str, code: int
) -> None:
    end = End(how=EXITED, code=code, elapsed_s=0.1)
    runs = [
        Run(phase="run", end=end, image=here(first)),
        *(Run(phase=phase, end=end, image=here(second)) for phase in ("restart", "restart again")),
    ]
    fault = Injected(fault="/d/a.json is garbage", kind=kind, fired=1)
    accused(History(start="S1", kind=kind, injected=(fault,), runs=tuple(runs)), yardstick)


@unhurried
@given(chains())
def test_a_non_zero_exit_that_left_the_old_state_fails_no_oracle(yardstick: Calibration) -> None:
    clean = yardstick.chain[1]
    start = here({path: versions[0] for path, versions in clean.versions.items()})
    first = Run(phase="run", end=End(how=EXITED, code=1, elapsed_s=0.1), image=start)
    fault = Injected(fault="write fails with ENOSPC", kind="errno", fired=1)
    restart = run("restart", clean.files, clean.stdout)
    given_history = History(start="S1", kind="errno", injected=(fault,), runs=(first, restart))
    assert accused(given_history, yardstick) == []
