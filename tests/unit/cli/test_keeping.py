"""`baseline`, `diff` and `merge` as people type them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from blackstart.findings.baseline import parse
from blackstart.report import json
from tests.unit.report.samples import CRASHED, FULL, LOST

from .test_commands import blackstart


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a stored run, and an older report."""
    blackstart(tmp_path, "run", "--", "prog")
    old = msgspec.structs.replace(FULL, command=("prog",), findings=(CRASHED,), run="1")
    (tmp_path / "old.json").write_bytes(json.render(old))
    return tmp_path


def test_a_baseline_is_written_from_a_run_and_then_added_to(place: Path) -> None:
    ended = blackstart(place, "baseline", "known.toml", "old.json", "--reason", "later", "--expires", "2030-01-01")
    assert (ended.returncode, ended.stdout) == (0, b"1 added to known.toml, 0 were there.\n"), ended
    ended = blackstart(place, "baseline", "known.toml", "--reason", "never", "--owner", "Ann")
    assert ended.stdout == b"1 added to known.toml, 1 were there.\n"
    known = parse((place / "known.toml").read_text(), "")
    assert {mark: one.reason for mark, one in known.items()} == {
        CRASHED.fingerprint: "later",
        LOST.fingerprint: "never",
    }
    assert "known.toml" in str(
        blackstart(place, "run", "--baseline", "known.toml", "--", "prog", fake="options").stdout
    )


def test_who_accepts_again_what_has_expired_is_told_so(place: Path) -> None:
    blackstart(place, "baseline", "known.toml", "--reason", "later", "--expires", "2999-01-01")
    known = place / "known.toml"
    known.write_text(known.read_text().replace("2999", "2020"))
    ended = blackstart(place, "baseline", "known.toml", "--reason", "later", "--expires", "2999-01-01")
    first, second = ended.stdout.decode().splitlines()
    assert first == "0 added to known.toml, 2 were there." and LOST.id in second and "`expires`" in second, ended


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("baseline known.toml", "needs a reason"),
        ("baseline known.toml --reason x --expires soon", "not a day"),
        ("baseline known.toml --reason x --expires 2020-01-01", "has passed"),
        ("baseline known.toml --reason x --only lost-none", "that run has no defect lost-none"),
        ("baseline known.toml 9 --reason x", "there is no run 9"),
        ("baseline missing/known.toml --reason x", "cannot be written"),
        ("diff 1 9", "there is no run 9"),
        ("diff 1 missing.json", "cannot be read"),
        ("merge nowhere", "there is no store"),
        ("merge .", "into itself"),
    ],
)
def test_mistakes_are_told_without_a_traceback(place: Path, arguments: str, words: str) -> None:
    ended = blackstart(place, *arguments.split())
    assert ended.returncode == 2 and words in ended.stderr.decode() and b"Traceback" not in ended.stderr, ended
    assert not (place / "known.toml").exists()


def test_diff_says_what_is_new_and_what_has_gone(place: Path) -> None:
    ended = blackstart(place, "diff", "old.json", "1")
    out = ended.stdout.decode()
    assert ended.returncode == 1 and "new        lost-4f3a91bc" in out and "seen again crashed-c0ffee12" in out
    back = blackstart(place, "diff", "1", "old.json")
    assert back.returncode == 0 and "not tried  lost-4f3a91bc" in back.stdout.decode()
    same = blackstart(place, "diff", "1", "1")
    assert same.returncode == 0 and "seen again" in same.stdout.decode()


def test_merge_brings_the_runs_of_another_directory(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    blackstart(other, "run", "--", "elsewhere")
    ended = blackstart(place, "merge", str(other))
    assert "1 run copied, 0 were here, 0 not finished" in ended.stdout.decode()
    assert b"elsewhere" in blackstart(place, "report", "2").stdout


def test_a_closed_or_full_standard_output_is_no_defect(place: Path) -> None:
    for command in ("report", "report --runs", "catalogue"):
        line = f"{shlex.join([sys.executable, '-m', 'blackstart'])} {command}"
        closed = subprocess.run(["sh", "-c", f"{line} >&-"], cwd=place, capture_output=True, check=False)
        assert (closed.returncode, closed.stderr) == (0, b"")
        full = subprocess.run(["sh", "-c", f"{line} >/dev/full"], cwd=place, capture_output=True, check=False)
        assert full.returncode == 3 and b"standard output cannot be written" in full.stderr
        assert b"Traceback" not in full.stderr and b"Exception ignored" not in full.stderr


def test_a_pin_is_written_for_the_suite_that_is_there(place: Path) -> None:
    (place / "tests").mkdir()
    ended = blackstart(place, "pin", "lost-4", "tests")
    assert ended.returncode == 0, ended
    text = (place / "tests" / "test_resilience_kill_lost_4f3a91bc.py").read_text()
    assert compile(text, "pin", "exec") and 'HERE / "lost-4f3a91bc.json"' in text and 'HERE / ".."' in text
    pinned = json.decode((place / "tests" / "lost-4f3a91bc.json").read_bytes())
    assert [one.id for one in pinned.findings] == ["lost-4f3a91bc"] and pinned.command == ("prog",)
    assert pinned.findings[0].plan == LOST.plan
    (place / "go").mkdir()
    (place / "go" / "a.go").write_text("// words\npackage shop\n")
    blackstart(place, "pin", "lost-4", "go", "--language", "go")
    text = (place / "go" / "resilience_kill_lost_4f3a91bc_test.go").read_text()
    assert "\npackage shop\n" in text and "func TestResilience_Kill_Lost_4f3a91bc(" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("pin lost-none", "no finding"),
        ("pin lost-4 missing", "does not exist"),
        ("pin lost-4 --language cobol", "no language"),
        ("catalogue disk.ful", "did you mean disk.full?"),
        ("catalogue --scenarios missing", "cannot be read"),
        ("catalogue --kind kil", "no scenario has the kind 'kil'"),
        ("catalogue --applies-to nothing", "no scenario has the role or thing 'nothing'"),
    ],
)
def test_mistakes_of_pin_and_catalogue_are_told(place: Path, arguments: str, words: str) -> None:
    ended = blackstart(place, *arguments.split())
    assert ended.returncode == 2 and words in ended.stderr.decode() and b"Traceback" not in ended.stderr, ended


def test_the_catalogue_is_listed_filtered_and_shown(tmp_path: Path) -> None:
    everything = blackstart(tmp_path, "catalogue").stdout.decode().splitlines()
    some = blackstart(tmp_path, "catalogue", "--kind", "db", "--tier", "1").stdout.decode().splitlines()
    assert len(everything) > 40 and [line.split()[0] for line in some] == ["db.locked", "db.header"]
    one = blackstart(tmp_path, "catalogue", "disk.full").stdout.decode()
    assert "recovery    a clear error" in one and "evidence    errno what ENOSPC, EDQUOT, short" in one
