"""The report of a run as a value: exactly what the JSON report holds, field for field.

A campaign fills it, the views read it, the schema in `report.schema.json` is generated from it. Fields are only added
within one schema number; a field that changes its meaning or goes away raises the number. All text may come from the
target and is hostile: the views make it harmless, the value keeps it as it is (undecodable bytes as surrogates, see
`report.text`).
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

SCHEMA: Final = "blackstart-report/1"

Severity = Literal["critical", "major", "minor", "low"]
Label = Literal["defect", "policy", "note"]
SEVERITIES: tuple[Severity, ...] = ("critical", "major", "minor", "low")

# What each exit status of `run` says; `replay` has its own words.
EXIT_STATUS = {
    0: "nothing new was found",
    1: "new findings",
    2: "wrong usage",
    3: "undecided",
    70: "a defect in blackstart itself",
    130: "interrupted: this is the report so far",
}


class SurfaceFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the surface: masked path, role (install, config, state ...), calls seen on it in a clean run."""

    path: str
    role: str
    calls: int = 0


class Omission(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was not done, not judged or not seen, and why: what is an oracle, a path, a fault or a door."""

    what: str
    why: str


class Surface(msgspec.Struct, frozen=True, kw_only=True):
    """What the target depends on, as seen in clean runs; unseen: what could not be seen."""

    files: tuple[SurfaceFile, ...] = ()
    databases: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    unseen: tuple[Omission, ...] = ()


class ReportDoor(msgspec.Struct, frozen=True, kw_only=True):
    """One way out of the sandbox and what became of it: contained, refused, or opened by name."""

    kind: str
    address: str = ""
    state: Literal["contained", "refused", "opened"] = "contained"
    why: str = ""


class CalibrationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How the yardstick was made.

    masked: what differs between clean runs and therefore is not judged; budget_share: the part of the budget it took.
    """

    clean_runs: int = 0
    null_trials: int = 0
    slowest_s: float = 0.0
    elapsed_s: float = 0.0
    budget_share: float = 0.0
    refuses_rerun: bool = False
    has_check: bool = False
    write_behind: str = ""
    masked: tuple[str, ...] = ()


class KindCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Trials of one kind by verdict; not_fired: the fault never reached the target (unknown leaves these out)."""

    kind: str
    passed: int = 0
    failed: int = 0
    unknown: int = 0
    not_fired: int = 0

    @property
    def total(self) -> int:
        """All trials of this kind."""
        return self.passed + self.failed + self.unknown + self.not_fired


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Trials that were chosen and not run."""

    count: int
    why: str
    kind: str = ""


class PlannedTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A trial that `run` would do; places counts the points that this one stands for."""

    kind: str
    fault: str
    path: str = ""
    phase: str = "run"
    places: int = 1


class CoveredPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One class of points of failure and its trials by verdict.

    kind: of the fault; call, path: where it falls, "" where it has none; role: of that file; what: the variant (an
    errno, a sort of damage); phase: run or restart; found: ids of the findings that these trials showed.
    """

    kind: str
    call: str = ""
    path: str = ""
    role: str = ""
    what: str = ""
    phase: str = "run"
    passed: int = 0
    failed: int = 0
    unknown: int = 0
    not_fired: int = 0
    found: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """All trials of this class."""
        return self.passed + self.failed + self.unknown + self.not_fired


class ScenarioResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the run says of one scenario of the catalogue.

    state: failed (a defect was found), passed, unknown (no trial could be judged) or not tried, and then why;
    passed, failed, unknown: trials that are evidence; found: ids of the findings.
    """

    id: str
    title: str
    tier: int = 1
    recovery: str = ""
    state: Literal["passed", "failed", "unknown", "not tried"] = "not tried"
    passed: int = 0
    failed: int = 0
    unknown: int = 0
    found: tuple[str, ...] = ()
    why: str = ""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What the workload of a service saw at one stage of the trials: when is before, during or after the fault.

    asked, answered: its lines, and those that said ok; p50_ms, p99_ms: latency of those, -1 where it was not told.
    """

    when: str
    asked: int = 0
    answered: int = 0
    p50_ms: float = -1.0
    p99_ms: float = -1.0


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """How long a service took to be well again, counted from injection or healing (since).

    trials, recovered: how many tell, and in how many it was; median_s: -1 where not even half were seen to; watched_s:
    the longest; curve: (seconds, share not yet well), by Kaplan and Meier.
    """

    since: str
    trials: int
    recovered: int
    median_s: float = -1.0
    watched_s: float = 0.0
    curve: tuple[tuple[float, float], ...] = ()


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """What the faults of one kind cost those who use a service; trials: how many were measured; not_measured: why
    nothing is known of the time after healing, where that is so.
    """

    kind: str
    trials: int
    served: tuple[Served, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    not_measured: str = ""


class ScenarioTest(msgspec.Struct, frozen=True, kw_only=True):
    """What a test of the project's own suite last found of a scenario; finished: when, in UTC."""

    scenario: str
    test: str
    outcome: Literal["survived", "gap", "failed"]
    reason: str = ""
    finished: str = ""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of a trial: at_s counts from the first start on, restarts follow without a gap; run: its phase."""

    at_s: float
    mark: Literal["start", "inject", "heal", "output", "end"]
    run: str
    text: str = ""


class TrialsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """All trials of the run but the calibration's: counts per kind and verdict, what was cut, what is planned."""

    total: int = 0
    kinds: tuple[KindCounts, ...] = ()
    cut: tuple[Cut, ...] = ()
    planned: tuple[PlannedTrial, ...] = ()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The failing trials with one cause.

    id: what `replay` takes; fingerprint: `<algorithm version>:<digest>`, survives edits; where: call and call site;
    evidence: one sentence per item; paths: masked paths concerned; reproduced: "2 of 2"; replay: the command line;
    plan: the trial as data, enough to do it again without a store; found_s: seconds after the run's start;
    timeline: the plainest failing trial, moment by moment; known: the reason for which a baseline file accepts it;
    scenarios: ids of those that it is evidence for.
    """

    id: str
    fingerprint: str
    severity: Severity
    label: Label
    consequence: str
    kind: str
    fault: str
    where: str = ""
    evidence: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    advice: str = ""
    reproduced: str = ""
    replay: str = ""
    trials: int = 1
    found_s: float = 0.0
    stack: tuple[str, ...] = ()
    plan: dict[str, Any] = {}
    timeline: tuple[Moment, ...] = ()
    known: str = ""
    scenarios: tuple[str, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether it fails the run: policies, notes and known gaps do not."""
        return self.label == "defect" and not self.known


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that is no longer there; tried: whether its place was tried again, so that it counts as fixed."""

    id: str
    fingerprint: str
    what: str = ""
    tried: bool = True


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Against an earlier run of the same command: its number and start; ids of findings, and what has gone."""

    against: str
    started: str = ""
    new: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    gone: tuple[Gone, ...] = ()


class BaselineUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a baseline file did: known, expired: ids of findings; fixed: entries whose finding is no longer there."""

    file: str
    known: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    fixed: tuple[Gone, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run of blackstart.

    version: of blackstart; run: its number in the store; mode: run or plan; started: ISO 8601 in UTC; options: the
    settings of the run other than the command, so that a replay elsewhere has them; muted: oracles that failed on a
    null trial; refused: what was asked for and not done; uncovered: what no fault reached; notes: observations that
    are no failures; coverage: trials by class of points of failure; impact: of a
    service, what its users saw of it; change: None for a first run; baseline: None where
    none was given.
    """

    schema: Literal["blackstart-report/1"] = SCHEMA
    command: tuple[str, ...]
    version: str = ""
    mode: Literal["run", "plan"] = "run"
    run: str = ""
    cwd: str = ""
    seed: int = 0
    started: str = ""
    elapsed_s: float = 0.0
    isolation: str = ""
    jobs: int = 1
    options: dict[str, Any] = {}
    surface: Surface = Surface()
    doors: tuple[ReportDoor, ...] = ()
    calibration: CalibrationSummary = CalibrationSummary()
    trials: TrialsSummary = TrialsSummary()
    findings: tuple[Finding, ...] = ()
    coverage: tuple[CoveredPoint, ...] = ()
    scenarios: tuple[ScenarioResult, ...] = ()
    impact: tuple[Impact, ...] = ()
    tests: tuple[ScenarioTest, ...] = ()
    change: Change | None = None
    baseline: BaselineUse | None = None
    muted: tuple[Omission, ...] = ()
    refused: tuple[Omission, ...] = ()
    uncovered: tuple[Omission, ...] = ()
    notes: tuple[str, ...] = ()
    undecided: str = ""
    exit_status: int = 0
