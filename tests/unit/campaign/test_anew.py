"""The trial of a finding is done behind the doors that its run had open, whatever is then made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from blackstart import campaign
from blackstart.campaign.anew import must_begin, observed
from blackstart.campaign.campaign import Campaign
from blackstart.core.errors import BlackstartError
from blackstart.core.options import Options
from blackstart.report.progress import SilentProgress
from blackstart.sandbox.machine import NAMESPACES
from blackstart.trials import Plan

FINDING = {"id": "lost-1", "plan": msgspec.to_builtins(Plan(kind="power", start="S1"))}
Entry = Callable[[Options, Path], object]


class Seen(Exception):
    """The doors are known: nothing more is done."""


def options(cwd: Path, *allow: str) -> Options:
    return Options(command=("true",), cwd=str(cwd), allow=allow, isolation=NAMESPACES)


@pytest.mark.parametrize(
    "entry",
    [
        lambda given, place: campaign.replay(FINDING, given, SilentProgress(), {}),
        lambda given, place: campaign.export(FINDING, given, str(place / "a.tar.gz"), SilentProgress(), {}),
        lambda given, place: campaign.disk(FINDING, given, str(place / "disk"), SilentProgress(), {}),
    ],
    ids=["replay", "export", "disk"],
)
def test_the_doors_of_the_run_are_open(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def observe(self: Campaign, isolation: str, opened: tuple[str, ...], host: object) -> None:
        raise Seen(isolation, opened)

    monkeypatch.setattr(Campaign, "observe", observe)
    with pytest.raises(Seen) as seen:
        entry(options(tmp_path, "device:/dev/null", "peer:db:5432"), tmp_path)
    assert seen.value.args == (NAMESPACES, ("/dev/null",))


def test_the_images_are_gone_at_the_end_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    zygote = SimpleNamespace(close=lambda: closed.append(True), names=lambda: ("S0",))
    monkeypatch.setattr(Campaign, "observe", lambda *_: SimpleNamespace(zygote=zygote))
    made = Campaign(options(tmp_path), SilentProgress())
    with (
        pytest.raises(BlackstartError, match="no longer gets as far as the start state S1"),
        observed(made, {}) as seen,
    ):
        given: Any = seen
        must_begin(Plan(kind="kill", start="S0"), given)
        must_begin(Plan(kind="kill", start="S1"), given)
    assert closed == [True]
