"""The program as people start it, with a campaign that only answers: words, statuses, streams."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blackstart.report import json
from blackstart.store import DIRECTORY

FAKE = Path(__file__).with_name("fake_campaign.py")
Ended = subprocess.CompletedProcess[bytes]
Gold = Callable[[str, str], None]


def blackstart(directory: Path, *arguments: str | bytes, fake: str = "", **more: str) -> Ended:
    return subprocess.run(
        [sys.executable, str(FAKE), *arguments],
        cwd=directory,
        capture_output=True,
        env={**os.environ, "FAKE": fake, "COLUMNS": "80", "TERM": "dumb", **more},
        timeout=500,
    )


def shown(ended: Ended) -> str:
    """Everything that a user sees, in a form that can stay in a gold file."""
    return f"--- stdout\n{ended.stdout.decode()}--- stderr\n{ended.stderr.decode()}--- exit {ended.returncode}\n"


def test_the_target_gets_its_arguments_byte_for_byte(tmp_path: Path) -> None:
    ended = blackstart(tmp_path, "run", "--seed", "1", "--", b"prog\xff", "--json", "x", "--", "-j", fake="options")
    assert b'"command":["prog\\\\xff","--json","x","--","-j"]' in ended.stdout, ended.stderr
    ended = blackstart(tmp_path, "run", "--seed", "1", "prog", "--json", "x", fake="options")
    assert b'"command":["prog","--json","x"]' in ended.stdout, "two dashes are not needed"


def test_every_option_arrives(tmp_path: Path) -> None:
    words = (
        "run --state a --state b --check c --stdin d --env E=f --env G= --cwd . --allow socket:/h --budget 3m "
        "--trials 4 -j 5 --only errno,kill --seed 6 --isolation landlock --ready tcp:80 --workload w --with one "
        "--with two --model ext4,posix --html h --junit u --sarif s --markdown m --baseline b --scenarios c -- x"
    )
    ended = blackstart(tmp_path, *words.split(), fake="options")
    expected = (
        f'{{"command":["x"],"cwd":"{tmp_path}","state":["a","b"],"check":"c","stdin":"d","env":{{"E":"f","G":""}},'
        '"allow":["socket:/h"],"budget_s":180.0,"trials":4,"jobs":5,"only":["errno","kill"],"seed":6,"json":"",'
        '"isolation":"landlock","ready":"tcp:80","workload":"w","companions":["one","two"],"models":["ext4","posix"],'
        f'"baseline":"{tmp_path}/b","scenarios":["{tmp_path}/c"]}}'
    )
    assert expected in ended.stdout.decode(), ended
    assert {name: (tmp_path / name).read_bytes()[:9] for name in "husm"} == {
        "h": b"<!doctype",
        "u": b"<?xml ver",
        "s": b'{\n  "$sch',
        "m": "### 🔴 bl".encode()[:9],
    }


def test_a_run_shows_its_report_and_gives_its_status(tmp_path: Path, gold: Gold) -> None:
    ended = blackstart(tmp_path, "run", "--seed", "42", "--", "prog")
    gold(shown(ended), "cli/run.txt")
    assert ended.returncode == 1


def test_a_plan_is_shown_as_a_plan(tmp_path: Path) -> None:
    ended = blackstart(tmp_path, "plan", "--", "prog")
    assert b"nothing was injected" in ended.stdout or b"Plan" in ended.stdout


def test_json_goes_to_a_file_or_alone_to_standard_output(tmp_path: Path) -> None:
    ended = blackstart(tmp_path, "run", "--seed", "1", "--json", "r.json", "--", "prog")
    assert json.decode((tmp_path / "r.json").read_bytes()).command == ("prog",)
    ended = blackstart(tmp_path, "run", "--seed", "1", "--json", "-", "--", "prog")
    assert json.decode(ended.stdout).exit_status == ended.returncode == 1
    assert b"CRITICAL" in ended.stderr


def test_a_slip_in_what_net_prints_is_answered_with_what_was_meant(tmp_path: Path) -> None:
    ended = blackstart(tmp_path, "net", "profile")
    assert ended.returncode == 2 and b"did you mean 'profiles'?" in ended.stderr


@pytest.mark.parametrize("module", ["typer", "blackstart.cli.settings", "blackstart.campaign"])
def test_who_interrupts_it_before_it_has_begun_sees_no_traceback(module: str) -> None:
    interrupted = (
        f"import sys\nclass Hook:\n def find_spec(self, name, *_):\n  if name == '{module}': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Hook())\nfrom blackstart.cli import main\nmain()"
    )
    ended = subprocess.run([sys.executable, "-c", interrupted, "run", "--", "x"], capture_output=True, timeout=100)
    assert (ended.returncode, ended.stderr) == (130, b"blackstart: interrupted\n")


@pytest.mark.parametrize(
    ("fake", "status"), [("crash", 70), ("undecided", 3), ("interrupt", 130), ("terminate", 130), ("partial", 130)]
)
def test_each_trouble_has_its_words_and_its_status(tmp_path: Path, gold: Gold, fake: str, status: int) -> None:
    ended = blackstart(tmp_path, "run", "--seed", "1", "--", "prog", fake=fake)
    assert ended.returncode == status
    assert (b"Traceback" in ended.stderr) == (fake == "crash")
    if fake == "crash":
        assert b"RuntimeError: our own mistake" in ended.stderr and b"a defect in blackstart" in ended.stderr
    elif fake == "partial":
        assert b"Exit status 130: interrupted: this is the report so far" in ended.stdout
    else:
        gold(ended.stderr.decode(), f"cli/{fake}.txt")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("run --only erno -- x", 2),
        ("run --nonsense -- x", 2),
        ("run --jobs many -- x", 2),
        ("nonsense", 2),
        ("replay", 2),
        ("replay nothing", 2),
        ("replay nothing --bisect", 128),
        ("report", 2),
        ("report 7 --cwd /missing", 2),
    ],
)
def test_wrong_usage_is_told_without_a_traceback(tmp_path: Path, arguments: str, status: int) -> None:
    ended = blackstart(tmp_path, *arguments.split())
    assert ended.returncode == status and ended.stderr and b"Traceback" not in ended.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("outcomes", "arguments", "status", "words"),
    [
        ("failed", "", 1, "It still fails."),
        ("passed", "", 0, "It no longer fails."),
        ("unknown", "", 3, "Undecided"),
        ("unknown", "--bisect", 125, "Undecided"),
        ("undecided", "", 3, ""),
        ("undecided", "--bisect", 125, ""),
        ("missing", "", 2, ""),
        ("missing", "--bisect", 125, ""),
        ("passed,failed,unknown", "--times 3", 1, "It failed in 1 of 2 trials"),
        ("passed", "--times 3", 0, "It failed in 0 of 3 trials"),
    ],
)
def test_a_replay_answers_by_its_status(tmp_path: Path, outcomes: str, arguments: str, status: int, words: str) -> None:
    blackstart(tmp_path, "run", "--", "prog")
    ended = blackstart(tmp_path, "replay", "lost-4", *arguments.split(), fake=outcomes)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (status, False), ended
    assert words in ended.stdout.decode()


def test_a_replay_shows_each_step_and_changes_what_was_allowed(tmp_path: Path) -> None:
    blackstart(tmp_path, "run", "--json", "r.json", "--", "prog")
    clone = tmp_path / "clone"
    clone.mkdir()
    arguments = ("replay", "../r.json#lost-4f3a91bc", "--allow", "socket:/x")
    ended = blackstart(clone, *arguments, fake="failed")
    out = ended.stdout.decode()
    assert f"fault: write $CWD/notes.json: @2 kill(after) in {clone}" in out.replace("\n", "")
    assert "\\x1b[2J" in out and "\x1b" not in out and "('socket:/x',)" in out
    assert os.listdir(clone) == []


def test_a_replay_names_where_all_stands_that_the_program_said(tmp_path: Path) -> None:
    blackstart(tmp_path, "run", "--", "prog")
    kept = ".blackstart/replay/lost-4f3a91bc/restart.stderr"
    for _ in range(2):
        ended = blackstart(tmp_path, "replay", "lost-4", fake="passed")
        assert f"all that it said: {kept}" in ended.stdout.decode(), ended
    assert (tmp_path / kept).read_bytes() == b"one\n" * 40
    shutil.rmtree(tmp_path / ".blackstart" / "replay")
    (tmp_path / ".blackstart" / "replay").write_text("in the way")
    ended = blackstart(tmp_path, "replay", "lost-4", fake="passed")
    assert ended.returncode == 0 and b"only a part of what it said" in ended.stdout, ended


def test_a_report_is_shown_again(tmp_path: Path) -> None:
    first = blackstart(tmp_path, "run", "--seed", "1", "--json", "r.json", "--", "prog")
    blackstart(tmp_path, "run", "--seed", "2", "--", "other")
    again = blackstart(tmp_path, "report", "1")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert blackstart(tmp_path, "report", "r.json").stdout == first.stdout
    assert b"other" in blackstart(tmp_path, "report").stdout
    page = blackstart(tmp_path, "report", "1", "--html", "-")
    assert page.stdout.startswith(b"<!doctype html>") and b"CRITICAL" in page.stderr
    copied = blackstart(tmp_path, "report", "1", "--json", "-")
    assert copied.stdout == (tmp_path / "r.json").read_bytes()
    listed = blackstart(tmp_path, "report", "--runs").stdout.decode().splitlines()
    assert [line.split()[0] for line in listed] == ["2", "1"] and listed[0].endswith("3 findings  other")
    missing = blackstart(tmp_path, "report", "9")
    assert missing.returncode == 2 and b"there is no run 9" in missing.stderr and b"2, 1" in missing.stderr


def test_a_run_that_was_killed_is_told(tmp_path: Path) -> None:
    blackstart(tmp_path, "run", "--", "prog", fake="killed")
    ended = blackstart(tmp_path, "report")
    assert ended.returncode == 2 and b"did not end by itself" in ended.stderr


@pytest.mark.parametrize("arguments", ["report", "--help", "run --seed 1 --json - -- x"])
def test_a_reader_that_goes_away_is_no_trouble(arguments: str, tmp_path: Path) -> None:
    blackstart(tmp_path, "run", "--", "prog")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(FAKE), *arguments.split()]
    ended = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, timeout=500)
    os.close(writer)
    assert ended.returncode == 141 and b"blackstart:" not in ended.stderr, ended
    assert b"Traceback" not in ended.stderr, ended


@pytest.mark.parametrize(
    ("arguments", "streams", "status"),
    [
        ("--help", ">/dev/full", 3),
        ("--help", ">&-", 0),
        ("--nonsense", "2>/dev/full", 2),
        ("run --seed 1 -- x", ">/dev/full", 3),
        ("run --seed 1 -- x", ">&-", 1),
        ("run --seed 1 -- x", "2>/dev/full", 1),
        ("run --seed 1 --json - -- x", ">/dev/full", 3),
    ],
)
def test_a_stream_that_takes_nothing_is_no_defect(arguments: str, streams: str, status: int, tmp_path: Path) -> None:
    """Full or closed: no traceback, and never the status that means findings."""
    line = f"{sys.executable} {FAKE} {arguments} {streams}"
    ended = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, timeout=500, check=False)
    assert ended.returncode == status, ended
    assert b"Traceback" not in ended.stderr and b"Exception ignored" not in ended.stderr, ended


def test_a_directory_that_is_gone_or_oddly_named_is_no_defect(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9 \x1b[31m"
    os.mkdir(odd)
    ended = blackstart(Path(os.fsdecode(odd)), "run", "--seed", "1", "--", "prog")
    assert ended.returncode == 1, ended.stderr
    assert b"prog" in blackstart(tmp_path, "report", "--cwd", odd).stdout
    gone = f"cd {tmp_path} && mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} {FAKE} run -- x"
    told = subprocess.run(["sh", "-c", gone], capture_output=True, timeout=500)
    assert (told.returncode, b"current directory was removed" in told.stderr) == (2, True), told.stderr


def test_doctor_says_what_this_machine_allows(tmp_path: Path) -> None:
    ended = blackstart(tmp_path, "doctor")
    assert ended.returncode in (0, 3) and b"user namespace" in ended.stdout


def test_undo_with_nothing_to_do_says_so(tmp_path: Path) -> None:
    ended = blackstart(tmp_path, "undo")
    assert (ended.returncode, ended.stdout) == (0, b"Nothing was left to undo.\n")
    assert not (tmp_path / DIRECTORY).exists()


def test_power_refuses_the_kinds_that_it_would_leave_out(tmp_path: Path) -> None:
    ended = blackstart(tmp_path, "power", "--only", "kill,power", "--", "x", fake="options")
    assert ended.returncode == 2 and b"`blackstart power` tries no kind 'kill'" in ended.stderr
    assert b"blackstart run --only kill" in ended.stderr
    ended = blackstart(tmp_path, "power", "--only", "power", "--", "x", fake="options")
    assert b'"only":["power"]' in ended.stdout, ended.stderr
