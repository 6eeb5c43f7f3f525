"""How early a run finds what it finds: the share of all defects seen in the first fifth of its trials.

    python benchmarks/ranking.py [--budget 60] [--only notes,lost_bad.py]

Target: at least 60 %. Each line is one whole run: the notebook of examples/notes (needs TinyDB) and the bad twins. A
defect is found when its first failing trial is done; trials are counted with nulls and repetitions, in the order in
which they were begun. Beside it stands what a random order of the same trials would be expected to find by then. Runs
that the budget cut short are marked: their whole is what they found, not what there is.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from blackstart.campaign.campaign import Campaign, Suspicion
from blackstart.campaign.execute import Task
from blackstart.campaign.worker import Outcome
from blackstart.core.options import Options
from blackstart.core.verdict import DEFECT
from blackstart.report.progress import SilentProgress
from blackstart.sandbox import choose, probe

ROOT = Path(__file__).parents[1]
NOTES = ROOT / "examples" / "notes" / "notes.py"
TWINS = ROOT / "tests" / "twins" / "programs"
FIRST = 0.2


class Numbered:
    """Numbers trials in the order in which they begin."""

    def __init__(self) -> None:
        self.count = 0

    def planned(self, task: Task) -> None:
        self.count += 1
        task.number = self.count

    def done(self, task: Task, outcome: Outcome) -> None:
        pass

    def found(self, cause: str, known: Suspicion) -> None:
        pass


def programs() -> dict[str, list[str]]:
    """Name -> command; what this machine cannot run is left out."""
    found = {}
    if importlib.util.find_spec("tinydb"):
        found["notes"] = [sys.executable, str(NOTES), "add", "buy milk"]
    for source in sorted(TWINS.glob("*_bad.py")):
        found[source.name] = [sys.executable, str(source)]
    for source in sorted(TWINS.glob("*_bad.sh")):
        found[source.name] = ["/bin/sh", str(source)]
    return found


def begin(name: str, command: list[str], directory: str) -> None:
    """Give the program something to lose."""
    if name == "notes":
        for number in range(5):
            subprocess.run([*command[:-1], f"note {number}"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
        return
    sys.path.insert(0, str(ROOT))
    from tests.twins.making import BOOK, book

    Path(directory, BOOK).write_bytes(book(5))
    Path(directory, "list.txt").write_text("format 1\n" + "".join(f"{number} nails\n" for number in range(200)))


def measure(command: list[str], directory: str, budget_s: float) -> tuple[list[tuple[int, int]], int, int]:
    """((first trial, how many trials show it) of each defect, trials begun, trials cut)."""
    options = Options(command=tuple(command), cwd=directory, budget_s=budget_s, seed=1)
    keep, isolation = Numbered(), choose(probe())
    campaign = Campaign(options, SilentProgress(), keep)
    seen = campaign.observe(isolation, (), os.environ)
    try:
        ordered = campaign.choose(seen)
        shop = campaign.shop(seen, isolation)
        seen.calibration = campaign.calibrate_nulls(seen, shop)
        campaign.try_all(seen, msgspec.structs.replace(shop, calibration=seen.calibration), ordered)
    finally:
        seen.zygote.close()
    shown = [
        (int(known.failures[0].trial), len(known.failures))
        for known in campaign.tally.suspicions.values()
        if known.label == DEFECT and known.reproduction.shown
    ]
    return shown, keep.count, campaign.tally.cut


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for each program")
    parser.add_argument("--only", default="", help="names, separated by commas")
    options = parser.parse_args()
    early_all, random_all, defects_all = 0, 0.0, 0
    for name, command in programs().items():
        if options.only and name not in options.only.split(","):
            continue
        with tempfile.TemporaryDirectory() as directory:
            begin(name, command, directory)
            shown, count, cut = measure(command, directory, options.budget)
        early = sum(first <= FIRST * count for first, _ in shown)
        by_chance = sum(1 - (1 - FIRST) ** trials for _, trials in shown)
        early_all, random_all, defects_all = early_all + early, random_all + by_chance, defects_all + len(shown)
        where = ", ".join(f"{first / count:.0%}" for first, _ in sorted(shown)) or "none"
        print(
            f"{name:16} {count:4} trials{f' ({cut} cut)' if cut else '':10}  {early} of {len(shown)} defects in the "
            f"first {FIRST:.0%} (random order {by_chance:.1f}); first seen at {where}",
            flush=True,
        )
    share = early_all / defects_all if defects_all else 0.0
    print(
        f"all: {early_all} of {defects_all} = {share:.0%} in the first {FIRST:.0%} of the trials "
        f"(random order {random_all / max(1, defects_all):.0%}; goal >= 60%)"
    )


if __name__ == "__main__":
    main()
