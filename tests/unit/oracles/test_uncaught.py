"""An exception that nobody caught is told from one that was caught and logged. covers: L-2"""

from __future__ import annotations

import pytest

from blackstart.core.history import EXITED, End, Output, Run
from blackstart.oracles import end
from blackstart.oracles.uncaught import told_elsewhere, traceback_of

from .build import NOTES, calibration, history, image, notes

TOP = b'Traceback (most recent call last):\n  File "/w/x.py", line 9, in <module>\n    main()\n'
SAVE = b'  File "/w/x.py", line 5, in save\n    f.write(text)\nOSError: [Errno 28] No space left on device\n'
BELOW = b"Traceback (most recent call last):\n" + SAVE
LOGGED = b"ERROR could not save\n" + TOP + SAVE
DURING = b"\nDuring handling of the above exception, another exception occurred:\n\n"


@pytest.mark.parametrize(
    ("pieces", "is_bad_end", "is_told"),
    [
        ((TOP, SAVE), True, True),
        ((TOP, SAVE), False, False),  # the program goes on or ends well: it was caught, and printed
        ((b"stopping\n", TOP + SAVE), True, True),
        ((LOGGED,), True, False),
        ((b"stopping\n", LOGGED), True, False),
        ((b"2026-01-01 ERROR " + TOP + SAVE,), True, False),
        ((BELOW,), True, False),  # printed where it was caught, below the top
        ((b"Exception in thread Thread-1 (serve):\n", BELOW), False, True),
        ((b"stopping\nException in thread Thread-1 (serve):\n" + BELOW,), False, True),
        ((b"Exception ignored in: <function F.__del__ at 0x7f>\n" + BELOW,), False, True),
        ((b"Task exception was never retrieved\nfuture: <Task finished name='Task-2'>\n" + BELOW,), False, True),
        ((TOP + SAVE + DURING + TOP + SAVE,), True, True),
        ((BELOW + DURING + TOP + SAVE,), True, True),
        ((LOGGED + DURING + TOP + SAVE,), True, False),
        ((LOGGED, TOP + SAVE), True, True),
        ((b"  + Exception Group " + TOP + SAVE,), True, True),
    ],
)
def test_the_place_of_a_traceback_tells(pieces: tuple[bytes, ...], is_bad_end: bool, is_told: bool) -> None:
    assert bool(traceback_of(pieces, is_bad_end=is_bad_end)) is is_told


def test_node_tells_its_version_where_it_ends_of_an_exception() -> None:
    printed = "Error: ENOSPC: no space left on device, write\n    at stop (/w/app.js:7:11) {\n  errno: -28\n}\n"
    assert told_elsewhere(printed) == ""
    assert told_elsewhere(f"{printed}\nNode.js v20.19.2\n").startswith("Error: ENOSPC")


def test_an_exception_that_was_logged_is_no_note() -> None:
    for said, outcome in ((LOGGED, "passed"), (TOP + SAVE, "failed")):
        outputs = (Output(stream="stderr", data=said, at_s=0.1),)
        first = Run(phase="run", end=End(how=EXITED, code=1), outputs=outputs, image=image({NOTES: notes(1)}))
        assert end.judge(history("errno", (first,)), calibration())[0].outcome == outcome
