"""A campaign that does nothing but answer, so that the command line is tested alone.

`python fake_campaign.py ARGUMENTS` is `blackstart ARGUMENTS` with this in the place of `blackstart.campaign`. FAKE says
what it does.
"""

from __future__ import annotations

import os
import signal
import sys
import types

import msgspec

import blackstart
from blackstart.core.errors import TargetError, Undecided
from blackstart.core.options import Options
from blackstart.report import json
from blackstart.report.model import Report
from blackstart.report.progress import Progress
from blackstart.store import Store

FAKE = os.environ.get("FAKE", "")


class Result(msgspec.Struct):
    outcome: str
    lines: tuple[str, ...]
    said: dict[str, bytes] = {}


def run(options: Options, progress: Progress, mode: str = "run") -> Report:
    """Keeps and gives the sample report for whatever it is asked."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", ".."))
    from tests.unit.report.samples import FULL

    report = msgspec.structs.replace(FULL, command=options.command, seed=options.seed, mode=mode)
    progress.phase("breaking")
    progress.opened(report)
    progress.done("passed")
    if FAKE == "crash":
        raise RuntimeError("our own mistake")
    if FAKE == "undecided":
        raise Undecided("the clean run failed:\n\x1b[31m exit status 1", where="stderr", next_step="run it alone")
    if FAKE in ("interrupt", "terminate"):
        os.kill(os.getpid(), signal.SIGINT if FAKE == "interrupt" else signal.SIGTERM)
    if FAKE == "partial":
        report = msgspec.structs.replace(report, exit_status=130)
    if FAKE == "options":
        os.write(1, json.encode_plain(options) + b"\n")
    with Store(options.cwd) as store:
        number = store.begin_run(options.command, options.seed, options=json.encode_plain(FULL.options))
        if FAKE != "killed":
            store.finish_run(number, json.encode(report))
    return report


def plan(options: Options, progress: Progress) -> Report:
    """The same, as a plan."""
    return run(options, progress, "plan")


def replay(finding: dict[str, object], options: Options, progress: Progress) -> Result:
    """Gives the outcomes of FAKE one after the other, the last one for ever."""
    global FAKE
    progress.phase("replaying")
    first, _, rest = FAKE.partition(",")
    FAKE = rest or first
    if first == "undecided":
        raise Undecided("the clean run failed")
    if first == "missing":
        raise TargetError("there is no command 'prog'")
    said = {"restart.stderr": b"one\n" * 40} if first == "passed" else {}
    return Result(first, (f"fault: {finding['fault']} in {options.cwd}\x1b[2J", str(options.allow)), said)


if __name__ == "__main__":
    module = types.ModuleType("blackstart.campaign")
    module.run, module.plan, module.replay = run, plan, replay  # type: ignore[attr-defined]
    # Its small modules, which start nothing, are the real ones.
    module.__path__ = [os.path.join(blackstart.__path__[0], "campaign")]
    sys.modules["blackstart.campaign"] = module
    from blackstart.cli import main

    main()
