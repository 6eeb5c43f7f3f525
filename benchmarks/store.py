"""How the store and the reports bear size: a million trials in one store, ten thousand trials in one report.

    python benchmarks/store.py [--trials 1000000]

Targets: with 1,000,000 trials in 200 runs, what `report`, `diff` and `replay` ask of one run is answered in under
100 ms, the list of all runs in under 1 s; a report of 10,000 trials is rendered in each form in under 2 s. The trials
are written straight into the tables, one transaction a run: writing them one by one is not what is measured.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Callable

from blackstart.report import json, views
from blackstart.report.model import CoveredPoint, Finding, KindCounts, Report, TrialsSummary
from blackstart.store import Store

RUNS = 200
PLAN = b'{"kind":"kill","start":"S1","faults":[{"fault":"kill","point":{"call":"write","path":"$CWD/notes.json"}}]}'
HISTORY = zlib.compress(b'{"start":"S1","kind":"kill"}')


def main() -> None:
    """Build, ask, render, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        with Store(place) as store:
            began = time.perf_counter()
            fill(store, asked.trials)
            print(f"{asked.trials:,} trials written in {time.perf_counter() - began:.0f} s")
        with Store(place, create=False) as store:
            run = store.runs()[RUNS // 2].id
            show("one run with its report", 0.1, lambda: store.run(run))
            show("the last run", 0.1, store.last_run)
            show("the run before it", 0.1, lambda: store.previous_report(run))
            show("the findings of a run", 0.1, lambda: store.findings(run))
            show("a finding by its id", 0.1, lambda: store.finding(f"lost-{run}"))
            show("the list of all runs", 1.0, store.runs)
    report = big_report()
    for form in views.FORMS:
        show(f"10,000 trials as {form}", 2.0, lambda form=form: views.render(report, form))  # type: ignore[misc]


def fill(store: Store, trials: int) -> None:
    """RUNS finished runs that share the trials."""
    each = trials // RUNS
    connection = sqlite3.connect(store.path)
    for number in range(RUNS):
        run = store.begin_run(("python", "notes.py"), number)
        with connection:
            rows = ((run, "kill", PLAN, "passed", 0.0, 0.0) for _ in range(each))
            sql = "INSERT INTO trials (run, kind, plan, outcome, started, finished) VALUES (?, ?, ?, ?, ?, ?)"
            connection.executemany(sql, rows)
            connection.execute("INSERT INTO histories SELECT id, 0, ?, x'' FROM trials WHERE run = ?", (HISTORY, run))
        found = Finding(
            id=f"lost-{run}", fingerprint="1-a", severity="critical", label="defect", consequence="lost", kind="kill",
            fault="kill",
        )  # fmt: skip
        store.finish_run(run, json.encode(Report(command=("python",), run=str(run), findings=(found,))))
    connection.close()


def big_report() -> Report:
    """10,000 trials in 2,500 classes of points of failure, 50 findings."""
    points = tuple(
        CoveredPoint(kind=kind, call="write", path=f"$CWD/data/{number}.json", role="state", what="EIO", passed=4)
        for number in range(500)
        for kind in ("errno", "kill", "file", "db", "power")
    )
    findings = tuple(
        Finding(
            id=f"lost-{number}", fingerprint=f"1-{number}", severity="critical", label="defect", consequence="lost",
            kind="kill", fault="kill before write", evidence=("a note is gone",) * 5, stack=("$CWD/a.py:add:3",) * 20,
        )
        for number in range(50)
    )  # fmt: skip
    trials = TrialsSummary(total=10_000, kinds=(KindCounts(kind="kill", passed=10_000),))
    return Report(command=("python", "notes.py"), trials=trials, coverage=points, findings=findings)


def show(what: str, most_s: float, job: Callable[[], object]) -> None:
    """The median of five, and whether it is within its bound."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        job()
        took.append(time.perf_counter() - began)
    median = sorted(took)[2]
    print(f"{what:<26} {median * 1000:8.1f} ms  {'within' if median < most_s else 'MISSED'} {most_s:g} s")


if __name__ == "__main__":
    main()
