"""Runs the everyday program on two equal state directories, outside and inside; prints where the results differ."""

from __future__ import annotations

import contextlib
import difflib
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

from blackstart.sandbox import Layout, Zygote

EVERYDAY = Path(__file__).with_name("everyday.py")


def furnish(state: Path) -> None:
    """Everything that the program expects to be there."""
    state.mkdir(parents=True)
    (state / "old/inner").mkdir(parents=True)
    (state / "old/inner/file").write_text("deep")
    (state / "first").write_text("shared")
    os.link(state / "first", state / "second")
    for name in ("mapped", "locked", "attributed", "dated"):
        (state / name).write_text("0123456789")
    with contextlib.suppress(OSError):  # memory of an older kernel has none; then it must have none inside either
        os.setxattr(state / "attributed", "user.there", b"1")
    with socket.socket(socket.AF_UNIX) as stale:
        here = os.getcwd()
        os.chdir(state)
        stale.bind("stale")
        os.chdir(here)
    os.mkfifo(state / "pipe", 0o640)
    with open(state / "sparse", "wb") as sparse:
        sparse.truncate(64 << 20)
    (state / "moded").write_text("")
    (state / "moded").chmod(0o4711)
    (state / "script").write_text("#!/bin/sh\necho run\n")
    (state / "script").chmod(0o755)
    (state / "link").symlink_to("odd/../dated")
    (state / "odd").mkdir()
    for odd in (b"\xff\xfe", b"new\nline", b"a,b:c\\d", "ü".encode(), b"-rf", b" "):
        (state / "odd" / os.fsdecode(odd)).write_text("")
    (state / "removed").mkdir()
    (state / "removed/file").write_text("")
    (state / "old-directory").mkdir()
    with contextlib.closing(sqlite3.connect(state / "store.db")) as store:
        store.execute("pragma journal_mode=wal")
        store.execute("create table t (x)")
        store.execute("insert into t values (1)")
        store.commit()
    os.utime(state / "dated", ns=(5, 1_234_567_890_123_456_789))
    os.utime(state / "old-directory", ns=(5, 1_234_567_890_000_000_001))


def outside(state: Path) -> str:
    ended = subprocess.run(
        ["/usr/bin/python3", str(EVERYDAY), str(state)], capture_output=True, text=True, check=True, umask=0o022
    )
    return ended.stdout


def inside(state: Path, base: Path) -> str:
    layout = Layout.of(cwd=str(base), home=str(base), copies=[str(state)])
    program = base / "everyday.py"
    program.write_bytes(EVERYDAY.read_bytes())
    null = os.open("/dev/null", os.O_RDWR)
    with Zygote(layout) as zygote:
        zygote.capture("S0")
        zygote.copy("S0", "S1")  # a copy of a copy
        zygote.copy("S1", "S2")
        with zygote.sandbox("S2") as sandbox:
            reading, writing = os.pipe()
            sandbox.start(
                ["/usr/bin/python3", str(program), str(state)],
                env=dict(os.environ), stdin=null, stdout=writing, stderr=writing,
            )  # fmt: skip
            os.close(writing)
            with os.fdopen(reading) as output:
                return output.read()


def main() -> None:
    base = Path(sys.argv[1])
    furnish(base / "plain/state")
    furnish(base / "boxed/state")
    expected, found = outside(base / "plain/state"), inside(base / "boxed/state", base / "boxed")
    print(len(expected.splitlines()))
    sys.stdout.writelines(difflib.unified_diff(expected.splitlines(True), found.splitlines(True), "outside", "inside"))


main()
