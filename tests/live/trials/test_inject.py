"""`blackstart inject`: one fault by hand, as somebody types it.

covers: M-1
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live
SAVE = "for n in 1 2 3 4; do echo $n || exit 7; done >state"


def inject(cwd: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    # Not on a line of its own: what it says is compared whole.
    command = [sys.executable, "-m", "blackstart", "inject", *words]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=200, env=os.environ)


def test_the_third_write_fails_in_a_copy_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("old\n")
    done = inject(tmp_path, "write", "@3 raise(OSError: EIO)", "--keep", "kept", "--trace", "--", "sh", "-c", SAVE)
    assert done.returncode == 7, done.stderr
    assert "\n  write $CWD/state @3  <- raise\n" in done.stderr
    assert "\nblackstart: raise at write $CWD/state @3\n" in done.stderr
    assert "write $CWD*: fired at 1 of 3 hits\n" in done.stderr
    assert done.stderr.endswith(" ended with exit status 7\n")
    assert (tmp_path / "state").read_text() == "old\n"
    assert (tmp_path / "kept" / "state").read_text() == "1\n2\n"
    assert not (tmp_path / "kept" / "kept").exists()


def test_one_that_never_fires_is_told_where_such_calls_are(tmp_path: Path) -> None:
    done = inject(tmp_path, "write", "raise(OSError: EIO)", "--path", "stat", "--", "sh", "-c", SAVE + "; echo said")
    assert (done.returncode, done.stdout) == (3, "said\n")
    assert "blackstart: elsewhere: write $CWD/state (4)\nblackstart: elsewhere: write stdout (1)\n" in done.stderr


def test_on_the_machine_itself_a_kill_leaves_what_was_written(tmp_path: Path) -> None:
    done = inject(tmp_path, "write", "@2 kill", "--no-sandbox", "--", "sh", "-c", "read line; echo $line; " + SAVE,
                  stdin="hello\n")  # fmt: skip
    assert (done.returncode, done.stdout) == (137, "hello\n"), done.stderr
    assert (tmp_path / "state").read_text() == "1\n"
    assert done.stderr.endswith(" ended with signal 9\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("write", "@3 raise(OSError: EIO)"), "no program to run"),
        (("wrte", "kill", "--", "true"), "did you mean write?"),
        (("write", "kill", "--keep", ".", "--", "true"), ". is there already"),
        (("write", "kill", "--keep", "no/such", "--", "true"), "cannot be made"),
        (("write", "kill", "--keep", "x", "--no-sandbox", "--", "true"), "says nothing"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = inject(tmp_path, *words)
    assert done.returncode == 2 and said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_interrupted_tells_what_was_done_by_then(tmp_path: Path) -> None:
    script = "echo x >state; echo up; while :; do sleep 0.1; done"
    command = [sys.executable, "-m", "blackstart", "inject", "write", "sleep(1ms)", "--", "sh", "-c", script]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "blackstart: sleep at write $CWD/state @1\n" in said and said.endswith(" was interrupted\n")
