"""What a stranger reads and runs, from histories made by hand."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from blackstart.core.history import DEADLINE, EXITED, KILLED, STOPPED, Act, End, History, Life, Output, Reset, Run, Wait
from blackstart.core.options import KINDS, Options
from blackstart.core.reading import FileState, Reading
from blackstart.report.archive import LeftOut
from blackstart.report.handover import KINDS_IN_WORDS, Handover, outputs_of, readme, start_script, wait_in_words

FINDING = {
    "id": "lost-1a2b",
    "consequence": "lost",
    "severity": "critical",
    "kind": "kill",
    "fault": "kill before write $CWD/notes.json @2",
    "where": "write $CWD/notes.json in add",
    "paths": ["$CWD/notes.json"],
    "evidence": ["two notes are gone"],
    "advice": "Rename it.",
    "reproduced": "2 of 2",
    "stack": ["$CWD/app.py:add:14"],
}
STATES = ("before", "broken", "after")


def run(phase: str, how: str = EXITED, code: int = 0, **more: Any) -> Run:
    return Run(phase=phase, end=End(how=how, code=code, wait=more.pop("wait", None)), **more)


def over(*runs: Run, **more: Any) -> Handover:
    options = more.pop("options", Options(command=("sh", "-c", "cat notes"), cwd="/w/app"))
    resets = more.pop("resets", ())
    finding = {**FINDING, **more.pop("finding", {})}
    history = History(start="S1", kind="kill", runs=runs, resets=resets)
    given = {"cwd": "/w/app", "home": "/home/me", "roots": ("/w/app",), "states": STATES, **more}
    return Handover(finding=finding, options=options, history=history, **given)


def test_the_text_tells_what_was_broken_where_what_came_of_it_and_what_to_do() -> None:
    notes = {"/w/app/notes.json": FileState(path="/w/app/notes.json", size=20, digest="1")}
    none = {"/w/app/notes.json": FileState(path="/w/app/notes.json", size=0, digest="2")}
    text = readme(
        over(
            run("run", KILLED, outputs=(Output(stream="stdout", data=b"saved\n"),)),
            run("restart", code=1, outputs=(Output(stream="stderr", data=b"cannot read\n"),)),
            resets=(Reset(put_back=("/w/app/notes.json",), helped=True),),
            images={"before": notes, "broken": none, "after": none},
            left_out=(LeftOut(name="broken/w/app/pipe", why="it is no file, directory or link"),),
        )
    )
    for said in (
        "lost-1a2b: lost (critical)",
        "command: sh -c 'cat notes'",
        "started in: /w/app (written $CWD below)",
        "kill before write $CWD/notes.json @2",
        "the whole program was killed",
        "add ($CWD/app.py:14)",
        "two notes are gone",
        "failed 2 of 2 times",
        "run: it was ended by the fault",
        "    stdout: saved",
        "restart: it ended with exit status 1",
        "it starts again once /w/app/notes.json is again as it was in before/",
        "/w/app/notes.json: changed, 20 to 0 bytes",
        "starts the program on broken/, where it fails as above (restart)",
        "Rename it.",
        "blackstart replay 'PATH/report.json#lost-1a2b'",
        "broken/w/app/pipe: it is no file",
    ):
        assert said in text


def test_nothing_that_the_program_says_moves_the_reader() -> None:
    text = readme(over(run("run", outputs=(Output(stream="stdout", data=b"\x1b[2Jred\xff\n"),))))
    assert "\x1b" not in text and "\\x1b[2Jred\\xff" in text


def test_a_loss_that_starts_well_is_seen_by_comparing() -> None:
    text = readme(over(run("run", KILLED), run("restart")))
    assert "Compare $CWD/notes.json in broken/ with before/" in text


def test_what_does_not_stand_on_the_disk_is_told_by_its_wait() -> None:
    wait = Wait(state="blocked", call="read", path="pipe:[4711]", seen_s=3.0)
    hung = over(run("run", DEADLINE, wait=wait), run("restart"), finding={"consequence": "hung", "kind": "errno"})
    text = readme(hung)
    assert "it waits in read on pipe, without a limit" in text and "4711" not in text
    assert "It does not show on the disk" in text and "sh start.sh before" in text


def test_damage_shows_in_the_very_first_start() -> None:
    text = readme(over(run("before"), run("run", code=1), damaged=True, finding={"kind": "file"}))
    assert "the state with the damage that was done to it" in text
    assert "where it fails as above (run)" in text


def test_a_service_is_told_by_what_its_users_saw() -> None:
    acts = (Act(how="ok", id="1"), Act(how="fail", id="2"))
    life = Life(ready_s=0.2, acts=acts, fired_s=0.5, healed_s=1.0)
    options = Options(command=("./served",), cwd="/w/app", ready="tcp:80", workload="./use", companions=("./db",))
    made = over(run("run", STOPPED, life=life), finding={"consequence": "dead"}, options=options)
    text = readme(made)
    assert "of what was asked, 1 ok, 1 refused" in text and "it was not ready again" in text
    assert "ready when: tcp:80" in text and "used by: ./use" in text and "needs: ./db" in text
    assert "It keeps running" in text and "First start what it needs" in text
    assert dict(outputs_of(made))["outputs/1-run.workload"] == b"ok 1\nfail 2\n"


def test_everything_that_was_printed_is_there_whole() -> None:
    said = b"line\n" * 100
    reading = Reading(name="check", value="0\nall well")
    files = dict(outputs_of(over(run("run", outputs=(Output(stream="stderr", data=said),), readings=(reading,)))))
    assert files["outputs/1-run.stderr"] == said and files["outputs/1-run.stdout"] == b""
    assert files["outputs/1-run.check"] == b"0\nall well\n"


def test_every_kind_is_told_in_words() -> None:
    assert set(KINDS) == set(KINDS_IN_WORDS)


@pytest.mark.parametrize("state", ["blocked", "timed", "repeating", "busy", "working", "of another version"])
def test_every_wait_is_told_in_words(state: str) -> None:
    assert wait_in_words(Wait(state=state, call="read")).startswith("it ")


def test_the_script_starts_the_program_where_it_was_unpacked(tmp_path: Path) -> None:
    place = "/w/it's $(here)"
    options = Options(
        command=("sh", "-c", 'pwd; echo "$1" "$2" "$HOME" "$NAME"; cat', "-", f"--db={place}/x", "a b"),
        cwd=place, stdin="words",
    )  # fmt: skip
    made = over(
        run("run"),
        options=options,
        cwd=place,
        home=f"{place}/home",
        roots=(place,),
        env={"NAME": "v'1", "no; name": "x"},
    )
    inside = tmp_path / "broken" / place.strip("/")
    inside.mkdir(parents=True)
    (tmp_path / "start.sh").write_text(start_script(made))
    (tmp_path / "stdin").write_text("given")
    ended = subprocess.run(["sh", "start.sh"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=500)
    state = f"{tmp_path}/broken"
    assert ended.stdout == f"{inside}\n--db={state}{place}/x a b {state}{place}/home v'1\ngiven"


def test_the_script_says_what_is_not_installed(tmp_path: Path) -> None:
    made = over(run("run"), options=Options(command=("/opt/no such/program",), cwd="/w/app"))
    (tmp_path / "broken" / "w" / "app").mkdir(parents=True)
    (tmp_path / "start.sh").write_text(start_script(made))
    ended = subprocess.run(["sh", "start.sh"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500)
    assert ended.returncode == 127
    assert "/opt/no such/program is not installed here; say where it is: PROGRAM=" in ended.stderr


def test_where_strace_can_do_it_the_script_lets_it_break_the_same_call(tmp_path: Path) -> None:
    broken = "openat:error=EACCES:when=2+"
    made = over(run("run"), options=Options(command=("true",), cwd="/w/app"), inject=broken, path="/w/app/a b")
    (tmp_path / "before" / "w" / "app").mkdir(parents=True)
    (tmp_path / "start.sh").write_text(start_script(made))
    fake = tmp_path / "strace"
    fake.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    fake.chmod(0o755)
    said = [
        subprocess.run(
            ["sh", "start.sh", "before", *by], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=500,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        ).stdout.splitlines()
        for by in ((), ("strace",))
    ]  # fmt: skip
    assert said[0] == []
    assert (
        f"inject={broken}" in said[1] and f"{tmp_path.resolve()}/before/w/app/a b" in said[1] and said[1][-1] == "true"
    )
    assert "sh start.sh before strace" in readme(made)
