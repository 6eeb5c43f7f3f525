"""The textbook of file updates: four ways to replace a file, under each model, judged for atomicity and durability."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blackstart.power import Recording
from blackstart.testing import crash_states, explain, record

OLD, NEW = b'"' + b"o" * 100 + b'"', b'"' + b"n" * 20000 + b'"'
PYTHON = {
    "in place": "f = os.open('d', os.O_WRONLY | os.O_TRUNC); os.write(f, B); os.close(f)",
    "tmp": "f = os.open('t', os.O_CREAT | os.O_WRONLY); os.write(f, B); os.close(f); os.rename('t', 'd')",
}
PYTHON["fsync"] = PYTHON["tmp"].replace("os.write(f, B)", "os.write(f, B); os.fsync(f)")
PYTHON["fsync directory"] = PYTHON["fsync"] + "; g = os.open('.', 0); os.fsync(g)"
SAY = "; os.write(1, b'done\\n')"
C = r"""
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int n, char **v) {
    static char b[20002]; memset(b, 'n', sizeof b); b[0] = b[20001] = '"';
    int way = v[1][0] - '0';
    int f = open(way ? "t" : "d", way ? O_CREAT | O_WRONLY : O_WRONLY | O_TRUNC, 0644);
    if (write(f, b, sizeof b) != sizeof b) return 1;
    if (way > 1) fsync(f);
    close(f);
    if (way) rename("t", "d");
    if (way > 2) fsync(open(".", O_RDONLY));
    return write(1, "done\n", 5) != 5;
}
"""
GO = """package main

import ("bytes"; "os")

func main() {
	b := []byte("\\"" + string(bytes.Repeat([]byte("n"), 20000)) + "\\"")
	way := os.Args[1][0] - '0'
	name, flags := "d", os.O_WRONLY|os.O_TRUNC
	if way > 0 { name, flags = "t", os.O_CREATE|os.O_WRONLY }
	f, _ := os.OpenFile(name, flags, 0644)
	f.Write(b)
	if way > 1 { f.Sync() }
	f.Close()
	if way > 0 { os.Rename("t", "d") }
	if way > 2 { g, _ := os.Open("."); g.Sync() }
	os.Stdout.Write([]byte("done\\n"))
}
"""
# Whether the file may be neither old nor new; whether `done` may have been said and the old one stand there, or none.
TORN = {
    "in place": {"ext4", "xfs", "btrfs", "posix"}, "tmp": {"xfs", "posix"}, "fsync": set(), "fsync directory": set(),
}  # fmt: skip
LOST = {"in place": {"ext4", "xfs", "btrfs", "posix"}, "tmp": {"ext4", "xfs", "btrfs", "posix"},
        "fsync": {"ext4", "xfs", "btrfs", "posix"}, "fsync directory": set()}  # fmt: skip
WAYS = list(PYTHON)


def outcome(recording: Recording, path: str, model: str) -> tuple[bool, bool]:
    """(some state is torn, some state has lost what was acknowledged)"""
    torn = lost = False
    for state in crash_states(recording, model, limit=3000, with_kills=True):
        inode = recording.names.layout(state.mask).get(path)
        content = None if inode is None else recording.contents.content(inode, state.mask, state.garbage)
        torn = torn or content not in (OLD, NEW)
        lost = lost or (bool(recording.outputs_before(state.cut)) and content != NEW)
        assert state.model in explain(recording, state).models
    return torn, lost


def judge(tmp_path: Path, way: str, command: list[str]) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "d").write_bytes(OLD)
    recording = record(command, state=state, cwd=state)
    assert not recording.uncovered
    assert (state / "d").read_bytes() == NEW
    for model in ("ext4", "xfs", "btrfs", "posix"):
        torn, lost = outcome(recording, str(state / "d"), model)
        assert (torn, lost) == (model in TORN[way], model in LOST[way]), model


@pytest.mark.live
@pytest.mark.parametrize("way", WAYS)
def test_python(tmp_path: Path, way: str) -> None:
    source = f"import os; B = b'\"' + b'n' * 20000 + b'\"'; {PYTHON[way]}{SAY}"
    judge(tmp_path, way, [sys.executable, "-I", "-S", "-c", source])


@pytest.mark.live
@pytest.mark.needs("gcc")
@pytest.mark.parametrize("way", WAYS)
def test_c(tmp_path: Path, way: str) -> None:
    (tmp_path / "p.c").write_text(C)
    subprocess.run(["gcc", "-o", tmp_path / "p", tmp_path / "p.c"], check=True)
    judge(tmp_path, way, [str(tmp_path / "p"), str(WAYS.index(way))])


@pytest.mark.live
@pytest.mark.needs("go")
def test_go(tmp_path: Path) -> None:
    (tmp_path / "p.go").write_text(GO)
    subprocess.run(["go", "build", "-o", tmp_path / "p", tmp_path / "p.go"], check=True, cwd=tmp_path)
    for way in WAYS:
        judge(tmp_path, way, [str(tmp_path / "p"), str(WAYS.index(way))])
        shutil.rmtree(tmp_path / "state")
