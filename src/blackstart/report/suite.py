"""What the project's own tests say of scenarios, as lines of a label and a text: those that do not survive first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from blackstart.core.units import plural
from blackstart.report.model import ScenarioTest

SHOWN_MAX = 40
_ORDER = ("failed", "gap", "survived")


def told(tests: Sequence[ScenarioTest]) -> list[tuple[str, str]]:
    """The counts, then one line for each test; nothing where there are none."""
    if not tests:
        return []
    counts: Counter[str] = Counter(one.outcome for one in tests)
    scenarios = len({one.scenario for one in tests})
    listed = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _ORDER if counts[outcome])
    lines = [("tests", f"{plural(len(tests), 'test')} of {plural(scenarios, 'scenario')}: {listed}")]
    # A word of a later version comes last.
    rank = {outcome: number for number, outcome in enumerate(_ORDER)}
    for one in sorted(tests, key=lambda one: rank.get(one.outcome, len(rank)))[:SHOWN_MAX]:
        lines.append((one.outcome, f"{one.scenario}  {one.test}" + (f": {one.reason}" if one.reason else "")))
    if len(tests) > SHOWN_MAX:
        lines.append(("…", f"and {len(tests) - SHOWN_MAX} more; --json FILE has them all"))
    return lines
