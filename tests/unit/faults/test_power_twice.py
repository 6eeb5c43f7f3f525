"""The faults of power cuts that need a real start: where they strike, what they tell, and that they survive JSON."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.trace import FILE, Operation
from blackstart.faults.failing_sync import FailingSync
from blackstart.faults.failing_sync import candidates as failing_candidates
from blackstart.faults.point import Point
from blackstart.faults.power import Missing, PowerCut, describe
from blackstart.faults.second_cut import SecondCut
from blackstart.faults.second_cut import candidates as second_candidates
from blackstart.power import MODELS, Failing, Recording, Spill, StartEntry, Tape, crash_states
from blackstart.trials.plan import Plan, decode, encode


def test_a_cut_that_loses_nothing_says_so() -> None:
    last = Missing(call="write", path="$CWD/a", nth=2)
    assert str(PowerCut(model="btrfs", last=last, done=1)).endswith("after write $CWD/a @2, all of which was kept")
    lost = PowerCut(model="btrfs", last=last, done=1, missing=(last,))
    assert str(lost).endswith("after write $CWD/a @2, without write $CWD/a @2")


class Teller:
    """Tells a tape of operations, which are numbered."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.count = 0

    def tell(self, call: str, path: Path | str, **more: object) -> None:
        self.count += 1
        fields = {"path": str(path), "masked": Path(path).name, "kind": FILE, "thread": 1} | more
        self.tape.before(Operation(index=self.count, call=call, **fields))  # type: ignore[arg-type]


def recorded(root: Path, failing: Failing | None = None) -> Recording:
    """tmp + fsync + rename, each really done, then a line that gets out."""
    tape = Tape([StartEntry(str(root), "directory")], Spill(), read_now=_read, failing=failing)
    tell = Teller(tape).tell
    new, name = root / "new", root / "name"
    tell("openat", new, flags=os.O_CREAT | os.O_WRONLY)
    tell("write", new, offset=0, size=3, data=b"abc")
    new.write_bytes(b"abc")
    tell("fsync", new)
    tell("rename", new, path2=str(name))
    new.rename(name)
    tell("write", "stdout", kind="pipe", data=b"saved\n")
    return tape.finish()


def _read(path: str) -> bytes | None:
    return Path(path).read_bytes() if Path(path).exists() else None


def _make(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def sync(number: int = 1) -> Operation:
    return Operation(index=number, call="fsync", nth=number, path="/s/new", masked="new", kind=FILE)


def clean(recording: Recording | None) -> CleanRun:
    return CleanRun(start="S1", code=0, elapsed_s=0.1, trace=(sync(),), recording=recording)


def test_each_sync_of_a_judged_file_is_a_candidate_under_each_failing_model() -> None:
    yardstick = Calibration(roles={"new": "scratch"})
    found = [c.fault for c in failing_candidates(clean(None), yardstick, ())]
    assert {f.model for f in found if isinstance(f, FailingSync)} == {"fsync-fails", "fsync-fails-btrfs"}
    assert len(found) == 6
    assert list(failing_candidates(clean(None), yardstick, ("ext4",))) == []
    assert list(failing_candidates(clean(None), Calibration(roles={"new": "install"}), ())) == []


def test_a_failing_sync_and_a_second_cut_survive_json(tmp_path: Path) -> None:
    yardstick = Calibration(roles={"new": "scratch"})
    (first, *_) = failing_candidates(clean(None), yardstick, ())
    (second, *_) = second_candidates(clean(recorded(tmp_path)), ())
    assert isinstance(second.crash, PowerCut) and second.cause != first.cause
    for faults in ((first.fault,), (second.crash, second.fault)):
        plan = Plan(kind="power", start="S1", faults=faults)  # type: ignore[arg-type]
        assert decode(encode(plan)) == plan and all(str(fault) for fault in faults)


@pytest.mark.parametrize(
    "outputs, keeps, cut_after", [(1, True, "output"), (0, True, "output"), (0, False, "output"), (9, True, "output")]
)
def test_what_the_failing_sync_dropped_is_told(tmp_path: Path, outputs: int, keeps: bool, cut_after: str) -> None:
    (candidate, *_) = failing_candidates(clean(None), Calibration(roles={"new": "scratch"}), ("fsync-fails",))
    fault = msgspec.structs.replace(candidate.fault, outputs=outputs, keeps=keeps)  # type: ignore[type-var]
    assert isinstance(fault, FailingSync)
    failing = Failing(is_it=fault.is_it, model=MODELS["fsync-fails"], make_read=lambda path, content: None)
    recording = recorded(tmp_path, failing)
    state = fault.state(recording)
    assert state is not None and recording.micros[state.cut - 1].kind == cut_after
    told = fault.told(Injected(fault=str(fault), kind="power", hits=1, fired=1), recording, state)
    assert told.cut is not None and told.cut.models == ("fsync-fails",) and "ext4" in told.cut.never
    assert told.cut.missing[0] == "bytes 0 to 3, dropped when fsync new @1 reported EIO"
    assert told.cut.lost_kinds[0] == "dropped" and told.cut.is_real and not told.cut.only_last_name


@pytest.mark.parametrize("name_of_model", ["fsync-fails", "fsync-fails-btrfs"])
@pytest.mark.parametrize("again, only_name", [("emptied", True), ("another", True), ("as it is", False)])
def test_what_was_written_anew_after_the_failure_is_not_missing(
    tmp_path: Path, again: str, only_name: bool, name_of_model: str
) -> None:
    """The first item is refused as its fsync fails; of the second only the name can be gone, as without a failure."""
    fault = FailingSync(point=Point(call="fsync", path="new", nth=1), model=name_of_model, keeps=False)
    failing = Failing(is_it=fault.is_it, model=MODELS[name_of_model], make_read=_make)
    tape = Tape([StartEntry(str(tmp_path), "directory")], Spill(), read_now=_read, failing=failing)
    teller = Teller(tape)
    new, name = tmp_path / "new", tmp_path / "name"
    for nth in (1, 2):
        if nth == 1 or again != "as it is":
            teller.tell("openat", new, flags=os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            teller.tell("write", new, offset=0, size=3, data=b"abc")
            new.write_bytes(b"abc")
        teller.tell("fsync", new, nth=nth)
        if nth == 1 and again == "another":
            teller.tell("unlink", new)
            new.unlink()
    teller.tell("rename", new, path2=str(name))
    new.rename(name)
    teller.tell("write", "stdout", kind="pipe", data=b"saved\n")
    recording = tape.finish()
    state = fault.state(recording)
    assert state is not None
    told = fault.told(Injected(fault=str(fault), kind="power", hits=1, fired=1), recording, state).cut
    assert told is not None and told.only_last_name == only_name
    assert ("dropped" in told.lost_kinds) != only_name, told.missing


def test_bytes_that_were_not_synced_are_told_by_their_file(tmp_path: Path) -> None:
    """A start notes its process id, and removes that at the end; of what it keeps only the name can be gone."""
    tape = Tape([StartEntry(str(tmp_path), "directory")], Spill(), read_now=_read)
    tell = Teller(tape).tell
    new, name, lock = tmp_path / "new", tmp_path / "name", tmp_path / "app.pid"
    for path in (lock, new):
        tell("openat", path, flags=os.O_CREAT | os.O_WRONLY)
        tell("write", path, offset=0, size=3, data=b"abc")
        path.write_bytes(b"abc")
    tell("fsync", new)
    tell("rename", new, path2=str(name))
    new.rename(name)
    tell("unlink", lock)
    lock.unlink()
    tell("write", "stdout", kind="pipe", data=b"saved\n")
    recording = tape.finish()
    told = {describe(recording, state).unsynced for state in crash_states(recording, MODELS["xfs"])}
    assert told == {(), ("app.pid",)}


@pytest.mark.parametrize("answer, only_name", [(b"info b\n", True), (b"ok b\n", False)])
def test_a_step_that_was_refused_is_missing_to_nobody(tmp_path: Path, answer: bytes, only_name: bool) -> None:
    """What the last, failing sync dropped had been promised only if the service said so all the same."""
    fault = FailingSync(point=Point(call="fsync", path="new", nth=2), model="fsync-fails", keeps=False)
    failing = Failing(is_it=fault.is_it, model=MODELS["fsync-fails"], make_read=_make)
    tape = Tape([StartEntry(str(tmp_path), "directory")], Spill(), read_now=_read, failing=failing, hears=True)
    teller = Teller(tape)
    new, name = tmp_path / "new", tmp_path / "name"
    for nth, said in ((1, b"ok a\n"), (2, answer)):
        teller.tell("openat", new, flags=os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        teller.tell("write", new, offset=0, size=3, data=b"abc")
        new.write_bytes(b"abc")
        teller.tell("fsync", new, nth=nth)
        if nth == 1:
            teller.tell("rename", new, path2=str(name))
            new.rename(name)
        tape.heard(said)
    recording = tape.finish()
    state = fault.state(recording)
    assert state is not None
    told = fault.told(Injected(fault=str(fault), kind="power", hits=1, fired=1), recording, state).cut
    assert told is not None and told.only_last_name == only_name and "dropped" in told.lost_kinds


def test_a_failing_sync_that_had_nothing_to_write_has_not_fired(tmp_path: Path) -> None:
    (candidate, *_) = failing_candidates(clean(None), Calibration(roles={"new": "scratch"}), ())
    assert isinstance(candidate.fault, FailingSync)
    acted = Injected(fault="", kind="power", hits=1, fired=1)
    told = candidate.fault.told(acted, recorded(tmp_path), None)
    assert not told.fired and "nothing was left" in told.note


def test_the_first_cuts_stand_in_mid_work_and_have_lost_nothing(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    found = list(second_candidates(clean(recording), ()))
    assert {c.path for c in found} <= {"new"}, "only while the temporary file is there"
    for candidate in found:
        assert isinstance(candidate.crash, PowerCut) and not candidate.crash.missing
        assert isinstance(candidate.fault, SecondCut)
    assert list(second_candidates(clean(recording), ("fsync-fails",))) == []
    assert list(second_candidates(clean(None), ())) == []


def test_a_recovery_with_fewer_states_has_not_been_cut(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    assert SecondCut(place=0, models=("xfs",)).state(recording) is not None
    far = SecondCut(place=9999, models=("xfs",))
    assert far.state(recording) is None and not far.told(recording, None).fired
