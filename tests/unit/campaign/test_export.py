"""Which states of a trial are handed over, and what is said where nothing can be."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blackstart.campaign.export import Keeper, _by_strace, _can_be_written
from blackstart.campaign.worker import Outcome
from blackstart.core.calibration import Calibration
from blackstart.core.errors import BlackstartError, Undecided
from blackstart.core.history import History, Injected
from blackstart.faults.errno import Errno
from blackstart.faults.kill import Kill
from blackstart.faults.point import Point
from blackstart.report.progress import SilentProgress
from blackstart.trials import Plan

# The package has a function of this name.
export = importlib.import_module("blackstart.campaign.export")


class FakeZygote:
    """Images as the names that they were copied from."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        self.dropped = 0

    def names(self) -> tuple[str, ...]:
        return tuple(str(number) for number in range(len(self.images) + self.dropped))

    def copy(self, source: str, name: str) -> None:
        assert name not in self.images
        self.images[name] = source

    def drop(self, name: str) -> None:
        del self.images[name]
        self.dropped += 1


def states(*phases: str) -> dict[str, str]:
    """The states after these phases, each by `phase-number` of the image that it is a copy of."""
    zygote = FakeZygote()
    keeper = Keeper(zygote)  # type: ignore[arg-type]
    for number, phase in enumerate(phases):
        keeper(phase, f"{phase}-{number}")
    found = {name: zygote.images.get(image, image) for name, image in keeper.states("S1").items()}
    keeper.clear()
    assert zygote.images == {}
    return found


def test_what_the_fault_left_is_what_stood_before_the_restart() -> None:
    assert states("run", "restart") == {"before": "S1", "broken": "run-0", "after": "restart-1"}


def test_what_was_tried_to_find_out_more_is_no_part_of_it() -> None:
    found = states("run", "restart", "restart-again", "reset", "reset", "late", "good again")
    assert found == {"before": "S1", "broken": "run-0", "after": "restart-again-2"}


def test_of_a_fault_in_the_recovery_the_broken_start_counts() -> None:
    assert states("run", "restart", "restart") == {"before": "S1", "broken": "restart-1", "after": "restart-2"}


def test_of_damage_the_state_with_the_damage_counts() -> None:
    assert states("before", "run", "restart") == {"before": "S1", "broken": "before-0", "after": "restart-2"}
    assert states("before", "run") == {"before": "S1", "broken": "before-0", "after": "run-1"}


def test_of_a_power_cut_the_disk_that_was_built_counts_and_not_the_run_that_was_recorded() -> None:
    assert states("run", "run", "recovery", "recovery", "restart")["broken"] == "recovery-3"


class FakeBench:
    """Masked paths below /w."""

    def real(self, masked: str, image: str) -> str:
        return masked.replace("$CWD", "/w")


POINT = Point(call="write", path="$CWD/a", nth=2)


@pytest.mark.parametrize(
    ("faults", "inject"),
    [
        ((Kill(point=POINT),), "write:error=EINTR:signal=KILL:when=2"),
        ((Errno(point=POINT, error="EIO"),), "write:error=EIO:when=2"),
        ((Errno(point=POINT, error="ENOSPC", persistent=True),), "write:error=ENOSPC:when=2+"),
        ((Errno(point=POINT, error="short"),), ""),
        ((Errno(point=POINT, error="EIO", phase="restart"),), ""),
        ((Kill(point=POINT), Kill(point=POINT)), ""),
        ((), ""),
    ],
)
def test_what_strace_can_do_as_well(faults: tuple[Errno | Kill, ...], inject: str) -> None:
    plan = Plan(kind="errno", start="S1", faults=faults)
    assert _by_strace(plan, FakeBench(), "S1") == (inject, "/w/a" if inject else "")  # type: ignore[arg-type]


def test_where_the_archive_cannot_be_written_is_said_first(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "no" / "e.tar.gz"):
        with pytest.raises(BlackstartError) as error:
            _can_be_written(str(place))
        assert error.value.where == str(place) and error.value.next_step


@pytest.mark.parametrize(
    ("trouble", "note"), [("the sandbox is full", ""), ("", "it did not come so far"), ("", "")]
)
def test_why_there_is_nothing_to_hand_over_is_said(
    monkeypatch: pytest.MonkeyPatch, trouble: str, note: str
) -> None:
    plan = Plan(kind="kill", start="S1", faults=(Kill(point=Point(call="write", path="$CWD/a", nth=1)),))
    history = History(start="S1", kind="kill", trouble=trouble, injected=(Injected(fault="", kind="kill", note=note),))
    monkeypatch.setattr(export, "try_and_judge", lambda plan, bench: Outcome(history=history, verdicts=()))
    seen: Any = SimpleNamespace(
        zygote=SimpleNamespace(names=lambda: ("S1",)), bench=SimpleNamespace(), calibration=Calibration()
    )
    with pytest.raises(Undecided) as caught:
        export._failing({}, plan, seen, Keeper(FakeZygote()), SilentProgress())  # type: ignore[arg-type]
    why = trouble or note
    assert caught.value.what.endswith(f"nothing to hand over{'; ' if why else ''}{why}")


def test_a_standard_input_that_no_archive_holds_is_refused_and_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "STDIN_MAX_BYTES", 4)
    given = tmp_path / "orders"
    given.write_bytes(b"five!")
    archive = SimpleNamespace(add=lambda *_: pytest.fail("a part of it was handed over"))
    with pytest.raises(BlackstartError, match="standard input is larger than 4 bytes") as caught:
        export._add_stdin(archive, str(given))
    assert caught.value.where == str(given)
