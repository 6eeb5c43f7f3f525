"""Run by test_people.py as one user: a trial of each kind on one program, and programs that do not end, told as JSON.

Argument: a fresh directory.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# test_people.py puts this file and the stage side by side, out of the checkout.
from stage import PATIENT, printed, staged, starts
from stage import SHORT as IMPATIENT

from blackstart.faults.db import Break
from blackstart.faults.errno import SHORT, Errno
from blackstart.faults.file import Damage
from blackstart.faults.kill import Kill
from blackstart.gate import Recorder

SCRIPT = """
import os
try:
    print('read', len(open('notes', 'rb').read()), flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
try:
    out = os.open('notes', os.O_WRONLY | os.O_CREAT)
    for _ in range(2):
        os.write(out, b'x' * 100)
except OSError as error:
    print(type(error).__name__, error.errno, flush=True)
"""

HANGING = {
    "fifo": "import os; os.mkfifo('fifo'); open('fifo')",
    "sleep": "import time; time.sleep(3600)",
    "lock": "import threading; threading.Event().wait(1800)",
}


def main(base: Path) -> None:
    with staged(base, SCRIPT, {"notes": b"0" * 100}) as stage:
        write, again = stage.point("write", "notes", 1), stage.point("write", "notes", 2)
        faults = {
            "kill": Kill(point=again),
            "error": Errno(point=write, error="ENOSPC", persistent=True),
            "short": Errno(point=again, error=SHORT, persistent=True),
            "unreadable": Damage(path="$CWD/notes", damage="unreadable"),
            "read-only": Damage(path="$CWD/notes", damage="read-only"),
            "garbage": Damage(path="$CWD/notes", damage="garbage"),
            "locked": Break(path="$CWD/notes", what="locked"),
        }
        told = {}
        for name, fault in faults.items():
            history = stage.trial(fault, patience=PATIENT)
            run = starts(history)[0]
            told[name] = {
                "fired": [account.fired for account in history.injected],
                "trouble": history.trouble,
                "how": run.end.how,
                "said": printed(run).decode().splitlines(),
                "size": stage.size(run, "notes"),
                "healed": history.runs[-1].end.code,
            }
        waits = {}
        for name, script in HANGING.items():
            for gated in (False, True):
                recorder = Recorder() if gated else None
                done = stage.conduct(sys.executable, "-c", script, patience=IMPATIENT, recorder=recorder)
                wait = done.end.wait
                waits[f"{name}, {'gated' if gated else 'bare'}"] = wait and [wait.state, wait.call, wait.limit_s]
    print(json.dumps({"trials": told, "waits": waits}))


main(Path(sys.argv[1]))
