"""Two ways to look at one program see the same, and two ways to break it have the same effect.

What strace cannot do is refused with the reason; the list at the end is what the gate exists for.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.core.rule import RuleError
from blackstart.core.trace import Operation
from blackstart.gate import Recorder, strace

from .conftest import SLOWNESS, Stage, tamper
from .test_recording import GO, THREADS

pytestmark = [pytest.mark.live, pytest.mark.needs("strace")]

ENV = {
    "LC_ALL": "C", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1",
    "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nowhere",
}
JSON = """
import json, os, socket, tempfile
with open("d.json.tmp", "w") as f:
    json.dump(list(range(3000)), f); f.flush(); os.fsync(f.fileno())
os.replace("d.json.tmp", "d.json"); d = os.open(".", os.O_RDONLY); os.fsync(d); os.close(d)
os.mkdir("sub"); os.chdir("sub"); open("x", "w").write("1"); os.link("x", "y"); os.symlink("x", "z"); os.unlink("z")
os.truncate("y", 0); os.chmod("y", 0o600); os.rename("y", "../y"); os.unlink("x"); os.chdir(".."); os.rmdir("sub")
fd = os.open("v", os.O_RDWR | os.O_CREAT | os.O_APPEND); os.writev(fd, [b"a", b"bc"]); os.pwrite(fd, b"z", 9)
os.ftruncate(fd, 2); os.unlink("v"); os.write(fd, b"gone"); r, w = os.pipe(); os.write(w, b"x")
s = socket.socket()
try: s.connect(("127.0.0.1", 1))
except OSError: pass
try: s.connect(("127.0.0.1", 1))
except OSError: pass
s.close(); os.write(1, b"out")
"""
C = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    FILE *f = fopen("log", "a"); for (int i = 0; i < 500; i++) fprintf(f, "line %d\n", i); fclose(f);
    int fd = open("db", O_RDWR | O_CREAT, 0600); flock(fd, LOCK_EX); pwrite(fd, "12345678", 8, 4096); fdatasync(fd);
    mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); fcntl(fd, F_GETFD); close(fd);
    if (!fork()) { chdir("/"); int c = open("tmp/none/such", O_WRONLY | O_CREAT, 0600); write(c, "x", 1); _exit(0); }
    wait(0); rename("db", "db2"); return 0; }
"""
SQL = "create table t(a); insert into t values(1); begin; insert into t values(2); commit; select count(*) from t;"


def shape(trace: tuple[Operation, ...] | list[Operation]) -> list[tuple[object, ...]]:
    """What must agree. How often a pipe is read depends on who is faster; the streams are not the same ones."""
    return [
        (o.call, "stdout" if o.masked == "stderr" else o.masked, o.kind, o.size, o.flags * o.call.startswith("open"))
        for o in trace
        if (o.call, o.masked) != ("read", "pipe:") and o.masked not in ("stdin", "/dev/null")
    ]


def both(stage: Stage, tmp: Path, argv: list[str]) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """What the gate and what strace see of one program, each in a directory of its own."""
    seen = []
    for name in ("one", "two"):
        cwd = tmp / name
        cwd.mkdir()
        here = Stage(cwd)
        if name == "one":
            ran = here.run(argv, env=ENV, record=Recorder())
            assert ran.code == 0, ran.output
            seen.append(shape(ran.gate.trace))
        else:
            traced = strace.record(argv, mask=here.mask, cwd=str(cwd), env=ENV)
            assert traced.code == 0, traced.stderr
            seen.append(shape(traced.trace))
    return seen[0], seen[1]


def in_order(stage: Stage, argv: list[str]) -> None:
    gate, other = both(stage, stage.cwd, argv)
    assert len(gate) > 5
    assert gate == other


def in_any_order(stage: Stage, argv: list[str]) -> None:
    gate, other = both(stage, stage.cwd, argv)
    assert len(gate) > 5
    one, two = Counter(gate), Counter(other)
    assert one == two, (one - two, two - one)


@pytest.mark.needs("sqlite3")
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_sqlite_is_seen_alike(stage: Stage, mode: str) -> None:
    in_order(stage, ["sqlite3", "t.db", f"pragma journal_mode={mode}; pragma synchronous=full;", SQL])


def test_python_is_seen_alike(stage: Stage) -> None:
    in_order(stage, [sys.executable, "-I", "-c", JSON])


def test_shell_pipelines_are_seen_alike(stage: Stage) -> None:
    script = "for i in 1 2 3; do echo $i; done | sort -r > a; cat a | wc -l > b; mv a c; cp c d"
    script += "; (cd /; cat etc/hostname) > e; rm b"
    in_any_order(stage, ["sh", "-c", script])


@pytest.mark.needs("gcc")
def test_a_c_program_is_seen_alike(stage: Stage) -> None:
    in_order(stage, [stage.c(C)])


@pytest.mark.needs("gcc")
def test_threads_are_seen_alike(stage: Stage) -> None:
    in_any_order(stage, [stage.c(THREADS.replace("1000", "100"))])


@pytest.mark.needs("go")
def test_a_static_go_program_is_seen_alike(stage: Stage) -> None:
    in_any_order(stage, [stage.go(GO)])


def test_bytes_are_seen_alike(stage: Stage) -> None:
    script = "import os; fd = os.open('f', os.O_CREAT | os.O_WRONLY); os.write(fd, bytes(range(256)))"
    script += "; os.writev(fd, [b'a', b'b'])"
    (stage.cwd / "x").mkdir()
    ran = stage.run([sys.executable, "-c", script], record=Recorder(data=True))
    traced = strace.record([sys.executable, "-c", script], mask=stage.mask, cwd=str(stage.cwd), data_max=1000)
    mine = [o.data for o in traced.trace if o.masked == "$CWD/f" and o.call.startswith("write")]
    assert mine == [o.data for o in ran.calls("write", "writev")] == [bytes(range(256)), b"ab"]


WRITER = """
import os, time
fd = os.open("f", os.O_CREAT | os.O_WRONLY)
for part in (b"one.", b"two.", b"three."):
    begin = time.monotonic()
    try: answer = os.write(fd, part)
    except OSError as error: answer = error.errno
    print(answer, time.monotonic() - begin > 1.5)
os.rename("f", "g")
"""


@pytest.mark.parametrize("backend", ["gate", "strace"])
@pytest.mark.parametrize(
    ("call", "rule", "code", "answers", "files"),
    [
        ("write", "@2 raise(OSError: ENOSPC)", 0, "4 28 6", {"g": b"one.three."}),
        ("write", "@2+ raise(OSError: EIO)", 0, "4 5 5", {"g": b"one."}),
        ("write", "@1+2 raise(OSError: EIO)", 0, "5 4 5", {"g": b"two."}),
        ("write", "raise(OSError: EIO)", 0, "5 5 5", {"g": b""}),
        ("write", "2*@1+ raise(OSError: EIO)", 0, "5 5 6", {"g": b"three."}),
        ("write", "@3 kill", -signal.SIGKILL, "", {"f": b"one.two."}),
        ("write", "@2 delay(2s)", 0, "4 4 6", {"g": b"one.two.three."}),
        ("rename", "kill", -signal.SIGKILL, "", {"f": b"one.two.three."}),
        ("rename", "raise(OSError: EXDEV)", 1, "4 4 6", {"f": b"one.two.three."}),
        ("write", "off", 0, "4 4 6", {"g": b"one.two.three."}),
    ],
)
def test_both_break_a_program_alike(
    stage: Stage, backend: str, call: str, rule: str, code: int, answers: str, files: dict[str, bytes]
) -> None:
    # Output in one write; strace finds calls by path only where they have a descriptor.
    argv, path = ["/usr/bin/env", "-u", "PYTHONUNBUFFERED", sys.executable, "-c", WRITER], str(stage.cwd / "f")
    path = path if call == "write" else "*"
    if backend == "gate":
        ran = stage.run(argv, tamper(call, "$CWD/f", rule))
        ended, output, firings = ran.code, ran.output, ran.gate.firings
    else:
        traced = strace.inject(argv, [tamper(call, path, rule)], mask=stage.mask, cwd=str(stage.cwd))
        ended, output, firings = traced.code, traced.stdout, list(traced.firings)
    assert ended == code
    if code < 0:
        answers, output = "", b""
    rows = [line.split() for line in output.decode().splitlines() if line[:1].isdigit()]
    assert " ".join(row[0] for row in rows) == answers
    assert {p.name: p.read_bytes() for p in stage.cwd.iterdir()} == files
    expected = {"@2+ ": 2, "@1+2 ": 2, "raise(OSError: EIO)": 3, "2*@1": 2, "off": 0}
    count = next((n for start, n in expected.items() if rule.startswith(start)), 1)
    assert [f.operation.call for f in firings] == [call] * count
    assert {f.operation.masked for f in firings} <= {"$CWD/f"}
    if "delay" in rule:
        assert [row[1] for row in rows] == ["False", "True", "False"]


# What strace cannot do, and the gate can.
REFUSED = [
    ("write", "/f", "return(3)", {}, "cannot return"),
    ("write", "/f", "hang", {}, "cannot hang"),
    ("write", "/f", "@65536 raise(OSError: EIO)", {}, "65535"),
    ("write", "/f", "@1+65536 raise(OSError: EIO)", {}, "65535"),
    ("write", "/f", "@1 raise(OSError: EIO) -> @2 raise(OSError: EIO)", {}, "chain"),
    ("write", "/f*", "raise(OSError: EIO)", {}, "path patterns"),
    ("write", "/f|/g", "raise(OSError: EIO)", {}, "path patterns"),
    ("write", "$CWD/f", "raise(OSError: EIO)", {}, "whole path"),
    ("rename", "/f", "raise(OSError: EIO)", {}, "as the program writes them"),
    ("write", "/f", "raise(OSError: EIO)", {"context": "save:a.py"}, "which function"),
    ("write", "/f", "raise(OSError: EIO)", {"kind": "file"}, "kinds"),
    ("openat", "*", "raise(OSError: EIO)", {"opening": "new"}, "opens"),
    ("write", "/f", "kill(after)", {}, "after"),
    ("write", "/f", "50% raise(OSError: EIO)", {}, "chance"),
    ("write", "/f", "2*raise(ValueError)", {}, "errno"),
]


@pytest.mark.parametrize(("call", "path", "rule", "more", "reason"), REFUSED)
def test_what_strace_cannot_do_is_refused_with_the_reason(
    stage: Stage, call: str, path: str, rule: str, more: dict[str, str], reason: str
) -> None:
    with pytest.raises(RuleError, match=reason) as caught:
        strace.inject(["true"], [tamper(call, path, rule, **more)])
    assert caught.value.next_step


def test_strace_takes_one_rule_for_each_call() -> None:
    rule = "@1 raise(OSError: EIO)"
    with pytest.raises(RuleError, match="one rule for write only"):
        strace.inject(["true"], [tamper("write", "*", rule), tamper("write", "*", "@3 kill")])
    with pytest.raises(RuleError, match="one path only"):
        strace.inject(["true"], [tamper("write", "/a", rule), tamper("fsync", "/b", rule)])
    strace.refuse([tamper("write", "/a", rule), tamper("fsync", "/a", rule)])


@pytest.mark.skipif(SLOWNESS > 1, reason="in an emulated guest 70,000 calls through the gate take minutes")
def test_the_gate_does_what_strace_cannot(stage: Stage) -> None:
    script = "import os\nfd = os.open('f', os.O_CREAT | os.O_WRONLY)\nfor i in range(70000): os.pwrite(fd, b'x', 0)"
    rules = [tamper("pwrite64", "$CWD/*", "@70000 raise(OSError: EIO)"), tamper("pwrite64", "*", "@69999 delay(1ms)")]
    ran = stage.run([sys.executable, "-c", script], *rules, record=None)
    assert ran.code == 1 and [f.operation.nth for f in ran.gate.firings] == [69999, 70000]


def test_without_strace_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BlackstartError, match="not installed") as caught:
        strace.record(["true"])
    assert "install" in caught.value.next_step


def test_a_program_that_never_ends_is_given_up() -> None:
    with pytest.raises(BlackstartError, match="did not end"):
        strace.record(["sleep", "50"], timeout_s=0.5)
