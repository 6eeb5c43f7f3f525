"""Reports for the tests: one with everything in it, hostile text included, and one of a quiet run."""

from __future__ import annotations

from typing import Any

import msgspec

from blackstart.report.model import (
    CalibrationSummary,
    Change,
    CoveredPoint,
    Cut,
    Finding,
    Gone,
    Impact,
    KindCounts,
    Moment,
    Omission,
    PlannedTrial,
    Recovery,
    Report,
    ReportDoor,
    ScenarioResult,
    Served,
    Surface,
    SurfaceFile,
    TrialsSummary,
)

HOSTILE = "\x1b]0;title\x07\x1b[31mred [bold]not bold[/bold] \u202etxt.exe caf\udce9 :smile:"

LOST = Finding(
    id="lost-4f3a91bc",
    fingerprint="1-4f3a91bc",
    severity="critical",
    label="defect",
    consequence="lost",
    kind="kill",
    fault="write $CWD/notes.json: @2 kill(after)",
    where="write at notes.py:17 in save",
    paths=("$CWD/notes.json",),
    evidence=("3 of 3 notes that the clean run had are gone after the restart", HOSTILE),
    advice=(
        "Write the new content to a temporary file in the same directory, fsync it, and rename it over the old one; "
        "then fsync the directory."
    ),
    reproduced="2 of 2",
    replay="blackstart replay lost-4f3a91bc",
    trials=6,
    stack=("/usr/lib/python3/json/__init__.py:dump:179", "$CWD/src/notes.py:save:17", "$CWD/caf\udce9.py:<module>:3"),
    plan={"kind": "kill", "faults": [{"fault": "kill", "path": "caf\udce9"}], "seed": 7},
    timeline=(
        Moment(at_s=0.0, mark="start", run="run", text="run"),
        Moment(at_s=0.05, mark="output", run="run", text=HOSTILE),
        Moment(at_s=0.1, mark="inject", run="run", text="kill"),
        Moment(at_s=0.1, mark="heal", run="run", text="kill"),
        Moment(at_s=0.1, mark="end", run="run", text="killed by the fault"),
        Moment(at_s=0.1, mark="start", run="restart", text="restart"),
        Moment(at_s=0.4, mark="end", run="restart", text="ends with exit status 0"),
    ),
)
CRASHED = Finding(
    id="crashed-c0ffee12",
    fingerprint="1-c0ffee12",
    severity="minor",
    label="defect",
    consequence="crashed",
    kind="errno",
    fault="open $CWD/notes.ini: @1 raise(OSError: EIO)",
    reproduced="3 of 5",
    replay="blackstart replay crashed-c0ffee12",
    stack=("notes.py:load:12", "notes.py:main:40"),
)
POLICY = Finding(
    id="lost-aa00aa00",
    fingerprint="1-aa00aa00",
    severity="low",
    label="policy",
    consequence="lost",
    kind="kill",
    fault="write $CWD/notes.json: @3 kill",
    replay="blackstart replay lost-aa00aa00",
)
FULL = Report(
    command=("python3", "notes.py", "add", "it's \x1b[31m", "caf\udce9", r"\x41"),
    version="0.1.0",
    run="3",
    cwd="/home/ann/notes",
    seed=42,
    started="2026-01-02T03:04:05+00:00",
    elapsed_s=41.26,
    isolation="namespaces",
    jobs=2,
    options={"state": ["data"], "env": {"LANG": "caf\udce9"}},
    surface=Surface(
        files=(
            SurfaceFile(path="$CWD/notes.json", role="state", calls=12),
            SurfaceFile(path="$CWD/notes.ini", role="config", calls=1),
            *(SurfaceFile(path=f"$CWD/cache/{number}", role="cache") for number in range(20)),
            SurfaceFile(path=HOSTILE, role="output", calls=2),
        ),
        databases=("$CWD/notes.db",),
        peers=("inet:127.0.0.1:80",),
        ports=("inet:0.0.0.0:8080",),
        processes=("/usr/bin/python3",),
        signals=("TERM",),
        unseen=(Omission(what="$CWD/map", why="a shared writable mapping; writes to it are not seen"),),
    ),
    doors=(
        ReportDoor(kind="files", why="copies and overlays"),
        ReportDoor(kind="processes"),
        ReportDoor(kind="peers", state="refused", why="own loopback only"),
        ReportDoor(kind="device", address="/dev/ttyUSB0", state="opened", why="--allow device:/dev/ttyUSB0"),
    ),
    calibration=CalibrationSummary(clean_runs=5, null_trials=10, slowest_s=0.2, masked=("$CWD/notes.json: /stamp",)),
    trials=TrialsSummary(
        total=124,
        kinds=(
            KindCounts(kind="errno", passed=80, failed=4, unknown=3, not_fired=1),
            KindCounts(kind="kill", passed=31, failed=5),
        ),
        cut=(Cut(count=40, why="the budget was spent", kind="errno"),),
    ),
    findings=(CRASHED, POLICY, LOST),
    coverage=(
        CoveredPoint(
            kind="errno",
            call="open",
            path="$CWD/notes.ini",
            role="config",
            what="EIO",
            failed=1,
            found=("crashed-c0ffee12",),
        ),
        CoveredPoint(kind="errno", call="write", path="$CWD/notes.json", role="state", what="ENOSPC", passed=3),
        CoveredPoint(kind="errno", call="write", path="$CWD/notes.json", role="state", what="EIO", unknown=1),
        CoveredPoint(
            kind="kill",
            call="write",
            path="$CWD/notes.json",
            role="state",
            failed=5,
            passed=2,
            found=("lost-4f3a91bc", "lost-aa00aa00"),
        ),
        CoveredPoint(kind="kill", call="write", path="$CWD/notes.json", role="state", phase="restart", not_fired=1),
        CoveredPoint(kind="kill", call="write", path=HOSTILE, role="output", passed=1, failed=1),
        CoveredPoint(kind="signal", what="TERM", passed=2),
    ),
    impact=(
        Impact(
            kind="kill",
            trials=4,
            served=(
                Served(when="before", asked=20, answered=20, p50_ms=1.5, p99_ms=9.25),
                Served(when="during", asked=10, answered=4),
                Served(when="after"),
            ),
            recoveries=(
                Recovery(
                    since="healing",
                    trials=4,
                    recovered=3,
                    median_s=0.5,
                    watched_s=5.0,
                    curve=((0.25, 0.75), (0.5, 0.5), (1.5, 0.25)),
                ),
            ),
        ),
    ),
    scenarios=(
        ScenarioResult(
            id="process.kill",
            title="SIGKILL at any moment",
            recovery="a restart finds all",
            state="failed",
            failed=5,
            passed=2,
            found=("lost-4f3a91bc",),
        ),
        ScenarioResult(id="disk.full", title="The disk is full", state="passed", passed=3),
        ScenarioResult(id="file.io-error", title="I/O error", state="unknown", unknown=1),
        ScenarioResult(id="own", title=HOSTILE, why="a run has no fault for it"),
    ),
    change=Change(
        against="2",
        started="2026-01-01T03:04:05+00:00",
        new=("lost-4f3a91bc",),
        again=("crashed-c0ffee12",),
        gone=(
            Gone(id="stuck-01", fingerprint="1-01", what="stuck by a full disk"),
            Gone(id="hung-02", fingerprint="1-02", what=HOSTILE, tried=False),
        ),
    ),
    muted=(Omission(what="acknowledged", why="it fails without any fault: 1 of 10 null trials"),),
    refused=(Omission(what="short write", why="strace cannot do it"),),
    uncovered=(Omission(what="$CWD/map", why="shared writable mapping"),),
    notes=("fail-stop, and everything was there after the restart (2 trials)",),
    exit_status=1,
)
QUIET = Report(
    command=("true",),
    surface=Surface(),
    trials=TrialsSummary(total=9, kinds=(KindCounts(kind="kill", passed=9),)),
    calibration=CalibrationSummary(clean_runs=1, null_trials=1),
    elapsed_s=3.0,
)
UNDECIDED = Report(command=("x",), exit_status=3, undecided="no fault reached the program")
PLANNED = Report(
    command=("x",),
    mode="plan",
    trials=TrialsSummary(
        planned=(
            PlannedTrial(kind="kill", fault="write $CWD/a: @1 kill", path="$CWD/a", places=3),
            PlannedTrial(kind="file", fault="truncated", path="$CWD/a", phase="restart"),
            *(
                PlannedTrial(kind="errno", fault=f"@{number} raise(OSError: EIO)", path="$CWD/a")
                for number in range(60)
            ),
        ),
        cut=(Cut(count=5, why="--trials 62"),),
    ),
)
# One write in place, found by five faults; a look at what could not be read, found by two.
_WRITING = {"point": {"call": "write", "path": "$CWD/count", "nth": 1}}
_IN_PLACE = msgspec.structs.replace(
    LOST,
    paths=("$CWD/count",),
    where="write $CWD/count",
    stack=(),
    timeline=(),
    evidence=("after the restart $CWD/count holds other content than clean runs leave (1 line in both)",),
    plan={"faults": [{"fault": "kill", **_WRITING}]},
)
_UNREADABLE = msgspec.structs.replace(
    _IN_PLACE,
    id="silent-2a",
    severity="major",
    consequence="silent",
    kind="errno",
    fault="openat $CWD/count @1 fails with EIO",
    where="openat $CWD/count",
    evidence=("it ended with exit status 0 and said nothing",),
    advice="Tell a file that cannot be read from one that is not there or is empty.",
    replay="blackstart replay silent-2a",
    trials=2,
    plan={"faults": [{"fault": "errno", "point": {"call": "openat", "path": "$CWD/count", "nth": 1}}]},
)


def _also(first: Finding, name: str, kind: str, fault: str, **more: Any) -> Finding:
    return msgspec.structs.replace(first, id=name, kind=kind, fault=fault, replay=f"blackstart replay {name}", **more)


_FSYNC = LOST.advice + " Without the fsync the new name may stand there before its content does."
_STATUS = "End with a status other than 0 where the work was not done."
FOLDED = Report(
    command=("./count.sh",),
    run="1",
    trials=TrialsSummary(total=215, kinds=(KindCounts(kind="kill", passed=28, failed=3),)),
    findings=(
        _also(_IN_PLACE, "lost-1a", "power", "power cut under ext4 after write stdout @1", trials=13, advice=_FSYNC),
        _also(_IN_PLACE, "lost-1b", "errno", "openat $CWD/count @2 fails with EMFILE", trials=7),
        _IN_PLACE,
        _also(_IN_PLACE, "lost-1c", "power", "power cut under xfs", paths=("$CWD/count", "$CWD/log"), trials=4),
        _also(
            _IN_PLACE,
            "unclean-1d",
            "errno",
            "write $CWD/count @1 fails with EIO",
            consequence="unclean",
            severity="minor",
            advice=_STATUS,
        ),
        _UNREADABLE,
        _also(_UNREADABLE, "silent-2b", "limit", "at most 1 new process", where="vfork", trials=1, plan={}),
    ),
    exit_status=1,
)
