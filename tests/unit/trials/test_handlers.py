"""The tracer in a Python program: which blocks it entered, in every thread and child, whatever becomes of it.

covers: G-8
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blackstart.trials.handlers import TRACER

PROGRAM = '''
import os, signal, sys, threading
def careful(what):
    try:
        what()
    except ZeroDivisionError:
        print("caught")
    except (KeyError, OSError):
        print("never")
    finally:
        print("last")
def wait():
    try: 1 / 0
    except ValueError: pass
thread = threading.Thread(target=careful, args=(lambda: 1 / 0,))
thread.start()
thread.join()
if sys.argv[1:] == ["killed"]:
    os.kill(os.getpid(), signal.SIGKILL)
if os.fork() == 0:
    try:
        int("x")
    except ValueError:
        os._exit(0)
os.wait()
'''


def traced(place: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """The program under the tracer, and what that noted; its own place stands for the one in a sandbox."""
    library = place / "tracer"
    library.mkdir()
    text = Path(TRACER, "sitecustomize.py").read_text()
    (library / "sitecustomize.py").write_text(text.replace('"/tmp/.blackstart-handlers"', repr(str(place / "book"))))
    (place / "program.py").write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": str(library), "BLACKSTART_TRACED": str(place)}
    done = subprocess.run(
        [sys.executable, "program.py", *words], cwd=place, env=env, text=True, capture_output=True, timeout=500
    )
    books = sorted((place / "book").iterdir())
    return done, [line.split("\t") for book in books for line in book.read_text().rstrip("\0").splitlines()]


@pytest.mark.parametrize(("words", "ran"), [((), {6, 11, 23}), (("killed",), {6, 11})])
def test_what_was_entered_is_told_also_after_a_kill(words: tuple[str, ...], ran: set[int], tmp_path: Path) -> None:
    done, rows = traced(tmp_path, *words)
    assert bool(done.returncode) == bool(words) and not done.stderr, done
    known = {int(row[2]): row[3] for row in rows if row[0] == "has"}
    assert known == {
        6: "except ZeroDivisionError", 8: "except (KeyError, OSError)", 11: "finally", 23: "except ValueError",
    }  # fmt: skip
    assert {int(row[2]) for row in rows if row[0] == "ran"} == ran
