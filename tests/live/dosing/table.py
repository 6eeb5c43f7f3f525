"""The tables of docs/dosing.md: each id and its tests, what both versions do today, what each hardening is good for.

Read from the tests (markers, `covers:` lines), gaps.py and hardenings.py, never kept by hand: `pytest --update-gold`
writes them.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from tests.live.dosing.gaps import GAPS

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "dosing.md"
BEGIN, END = "<!-- generated: pytest tests/live/dosing/test_table.py --update-gold -->", "<!-- end of generated -->"
TITLES = {
    "R-4": "job store, header lost: recreated",
    "R-5": "job store missing: a fresh start",
    "R-6": "job store locked by another process: waits, or falls back to memory",
    "R-7": "job store cut: detected, a fresh start",
    "R-8": "job store read-only: memory only",
    "R-9": "killed and restarted quickly: no job twice, no dose that is not counted",
    "R-10": "job store of no bytes: a fresh start",
    "R-11": "job store of garbage: detected, a fresh start",
    "R-12": "sensor state damaged: the next save makes it whole",
    "R-13": "sensor state damaged: the loader gives nothing",
    "R-14": "runtime history damaged: totals begin at zero, with a warning",
    "R-15": "action file damaged: ignored, automatic operation goes on",
    "R-16": "settings damaged: the defaults, and an error in the log",
    "R-17": "directory read-only: goes on, and the overdose guard still counts",
    "R-18": "save cut at any point: the old file or the new one",
    "R-19": "sensors refused: no reading, no crash",
    "R-20": "sensors hang: given up within the time-out",
    "R-21": "sensors reset in a read: the next read works",
    "R-22": "answer cut: noticed",
    "R-23": "sensors come back: goes on",
    "R-24": "sensors silent: marked as unavailable",
    "R-25": "sensors say zero: never dosed on",
    "R-26": "sensors say 0xFFFF: never dosed on",
    "R-27": "half of the reads fail: the good ones are used",
    "R-28": "connection to a relay lost: state unknown, the pump goes off as soon as it can, and at the end",
    "R-29": "relay command not acknowledged: taken as unsafe",
    "R-30": "relays cannot be read back: taken as unsafe",
    "R-31": "sensors and relays gone: degraded, and back again",
}
# What the suite is made of: tested by itself, in no version of the controller.
MEANS = {
    "R-1": "files: truncated at a byte, garbage, empty, missing, read-only, unreadable; as root too",
    "R-2": "SQLite: header, truncated, empty, garbage, missing, read-only, locked by another process",
    "R-3": "link: refused, silent, reset, partial answer, failing at a rate that the seed draws",
    "R-32": "discovery: what does not survive is an xfail with its reason; the run ends with the list of gaps",
    "R-33": "the marker; alone or with everything else, beside other plugins; nobody waits for a time-out",
}
MEANS_IN = tuple(HERE.parents[1] / "unit" / room for room in ("inprocess", "pytest_plugin"))
_COVERS = re.compile(r"^covers: ([A-Z]+-[0-9]+(?:, [A-Z]+-[0-9]+)*)$", re.MULTILINE)


@functools.cache
def tests() -> dict[str, list[str]]:
    """Scenario -> the names of its tests."""
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for function in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(function, ast.FunctionDef):
                continue
            for mark in function.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.resilience":
                    (scenario,) = (str(ast.literal_eval(k.value)) for k in mark.keywords if k.arg == "scenario")
                    found.setdefault(scenario, []).append(function.name)
    return found


def means() -> dict[str, list[str]]:
    """Id of `MEANS` -> the tests whose own docstring says that they cover it, as `file::name` below the tests."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for room in MEANS_IN for path in room.glob("test_*.py")):
        for function in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                covers = _COVERS.search(ast.get_docstring(function) or "")
                for covered in covers[1].split(", ") if covers else ():
                    if covered in MEANS:
                        found.setdefault(covered, []).append(f"{path.parent.name}/{path.name}::{function.name}")
    return found


def tables() -> str:
    """All tables in Markdown: what is broken, what is learned, what the suite is made of."""
    rows = ["| id | what the suite is made of | tests below `tests/unit/` |", "|---|---|---|"]
    for covered, names in sorted(means().items(), key=_number):
        rows.append(f"| {covered} | {MEANS[covered]} | {'<br>'.join(f'`{name}`' for name in names)} |")
    return f"{table()}\n\n{learned()}\n\n" + "\n".join(rows)


def learned() -> str:
    """What each hardening is, and which tests turn red without it."""
    from tests.live.dosing.hardenings import HARDENINGS

    scenario = {name: one for one, names in tests().items() for name in names}
    rows = ["| the hardened version has learned | without it, red |", "|---|---|"]
    for one in HARDENINGS.values():
        red: dict[str, list[str]] = {}
        for test in one.red:
            name, _, case = test.rstrip("]").partition("[")
            red.setdefault(name, []).extend([case] if case else [])
        shown = [
            f"{scenario[name]} `{name.removeprefix('test_resilience_')}`" + (f": {', '.join(cases)}" if cases else "")
            for name, cases in red.items()
        ]
        rows.append(f"| {one.what} | {'<br>'.join(shown)} |")
    return "\n".join(rows)


def _number(pair: tuple[str, object]) -> int:
    return int(pair[0].removeprefix("R-"))


def table() -> str:
    """The table of what is broken, in Markdown."""
    rows = ["| id | what is broken, and what must hold | tests | careful version | hardened |", "|---|---|---|---|---|"]
    for scenario, names in sorted(tests().items(), key=_number):
        shown = "<br>".join(f"`{name.removeprefix('test_resilience_')}`" for name in names)
        reasons = {why: None for gap, why in GAPS.items() if gap.partition("[")[0] in names}
        today = "gap: " + "; ".join(reasons) if reasons else "survives"
        rows.append(f"| {scenario} | {TITLES[scenario]} | {shown} | {today} | survives |")
    return "\n".join(rows)
