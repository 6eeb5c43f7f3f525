"""The catalogue is whole and strict, and a trial is evidence for exactly what it says something about."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from blackstart.catalogue import Scenario, Trial, built_in, is_evidence, load, parse
from blackstart.core.calibration import ROLES
from blackstart.core.errors import BlackstartError
from blackstart.core.options import KINDS

HEAD = 'schema = "blackstart-catalogue/1"\n'
ONE = HEAD + (
    '[[scenario]]\nid = "own.one"\ntitle = "t"\ntier = 1\napplies_to = ["state"]\nimpact = "i"\nrecovery = "r"\n'
    'evidence = [{ kind = "errno", what = ["EIO", "short"], call = ["write"], role = ["state"], phase = "run" }]\n'
    'oracles = ["state"]\n'
)
# Failure modes of the mission that are about how one works, not about what fails, and those that other commands show.
SCENARIOS_OF_THE_MISSION = (
    *(f"R-{n}" for n in (*range(1, 32),)),
    *("IF-1", "IF-2", "IF-3", "IF-4", "IF-5", "PB-1", "PB-2", "PB-3", "PB-4", "AW-1", "AW-2", "AW-3", "AW-4"),
    *("SS-1", "SS-2", "SS-3", "SS-4", "SS-5", "DI-1", "DI-2", "DI-3", "DI-4"),
    *(f"L-{n}" for n in range(1, 10)),
    "M-3",
    *(f"M-{n}" for n in (*range(6, 25),)),
    *(f"T-{n}" for n in range(2, 10)),
)


def test_ids_are_unique_and_every_scenario_is_whole() -> None:
    known = built_in()
    assert len({one.id for one in known}) == len(known) >= 40
    for one in known:
        assert all((one.title, one.impact, one.recovery, one.applies_to, one.oracles, one.refs)), one.id
        assert set(one.applies_to) <= {*ROLES, "database", "peer", "process", "service"}, one.id


def test_every_scenario_of_the_plans_stands_in_it() -> None:
    """covers: R-1 to R-31, G-2, L-1 to L-9, M-3, M-6 to M-24, T-2 to T-9"""
    named = {ref for one in built_in() for ref in one.refs}
    assert [ref for ref in SCENARIOS_OF_THE_MISSION if ref not in named] == []


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        (Trial(kind="errno", what="ENOSPC", call="write", role="state"), {"disk.full"}),
        (Trial(kind="errno", what="EIO", call="fsync", role="state"), {"file.io-error", "file.sync-fails"}),
        (Trial(kind="file", what="garbage", role="config"), {"file.garbage"}),
        (Trial(kind="file", what="truncated", role="state", is_database=True), {"file.truncated", "db.truncated"}),
        (Trial(kind="db", what="locked"), {"db.locked"}),
        (Trial(kind="db", what="header lost"), {"db.header"}),
        (Trial(kind="kill", call="write", role="log"), {"file.atomic-write", "process.kill", "process.rapid-restarts"}),
        (Trial(kind="power", phase="restart"), {"process.power-cut", "process.kill-in-recovery"}),
        (Trial(kind="signal", what="TERM mid-work"), {"process.term"}),
        (Trial(kind="limit", what="size"), {"limit.file-size"}),
        (Trial(kind="disk", what="entries"), {"disk.full"}),
        (Trial(kind="kill-one", what="/bin/sh"), {"process.child-dies"}),
        (Trial(kind="time"), {"time.jump"}),
        (Trial(kind="link", what="forgotten"), {"network.partition"}),
        (Trial(kind="link", what="loss"), {"network.loss"}),
        (Trial(kind="link", what="delay"), {"peer.slow"}),
        (Trial(kind="null"), set()),
    ],
)
def test_a_trial_is_evidence_for(trial: Trial, expected: set[str]) -> None:
    assert {one.id for one in built_in() if is_evidence(one, trial)} == expected


def test_every_field_of_evidence_can_exclude_a_trial() -> None:
    [own] = parse(ONE, "x")
    trial = Trial(kind="errno", what="EIO", call="write", role="state")
    assert is_evidence(own, trial)
    for other in ({"kind": "kill"}, {"what": "EPERM"}, {"call": "read"}, {"role": "log"}, {"phase": "restart"}):
        assert not is_evidence(own, msgspec.structs.replace(trial, **other)), other


def test_users_add_files_and_replace_what_is_built_in(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(ONE + ONE.removeprefix(HEAD).replace("own.one", "disk.full"))
    known: dict[str, Scenario] = {one.id: one for one in load([str(tmp_path / "own.toml")])}
    assert len(known) == len(built_in()) + 1 and known["disk.full"].title == "t" and "own.one" in known


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[[", "not TOML"),
        ("", "missing required field `schema`"),
        (HEAD.replace("/1", "/7"), "does not read"),
        (ONE.replace("own.one", "Own One"), "'Own One' is no id"),
        (ONE.replace("tier = 1", "tier = 4"), "own.one: tier 4"),
        (ONE.replace("tier = 1", 'tier = "x"'), r"scenario\[0\].tier"),
        (ONE.replace("oracles", "oracle"), "unknown field `oracle`|missing required field `oracles`"),
        (ONE.replace("kind =", "knd ="), r"scenario\[0\].evidence\[0\]|unknown field `knd`|required field `kind`"),
        (ONE + 'needs = "luck"\n', "needs 'luck'"),
        (ONE.replace('"errno"', '"erno"'), "own.one: there is no kind 'erno'"),
        (ONE.replace('applies_to = ["state"]', 'applies_to = ["stat"]'), "there is no role or thing 'stat'"),
        (ONE.replace('role = ["state"]', 'role = ["sate"]'), "there is no role 'sate'"),
        (ONE.replace('phase = "run"', 'phase = "rnu"'), "there is no phase 'rnu'"),
        (ONE.replace('"EIO"', '"EOI"'), "there is no errno 'EOI'"),
    ],
)
def test_a_mistake_is_told_with_its_key(text: str, what: str) -> None:
    with pytest.raises(BlackstartError) as error:
        parse(text, "own.toml")
    assert re.search(what, error.value.what) and error.value.where == "own.toml" and error.value.next_step


def test_a_misspelt_name_is_told_with_the_nearest() -> None:
    with pytest.raises(BlackstartError) as error:
        parse(ONE.replace('"EIO"', '"ENOSPCE"'), "own.toml")
    assert error.value.next_step == "did you mean 'ENOSPC'?"
    parse(ONE.replace('"EIO"', '"ENOSPC"'), "own.toml")


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name in ("missing", "bytes"):
        with pytest.raises(BlackstartError, match="scenarios"):
            load([str(tmp_path / name)])


def test_every_kind_of_fault_provokes_some_scenario() -> None:
    assert set(KINDS) <= {kind for one in built_in() for kind in one.kinds}
