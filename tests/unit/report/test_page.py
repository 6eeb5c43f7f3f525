"""The page for people: whole in one file, harmless whatever the target wrote, and what is drawn is laid out right."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from blackstart.report import html
from blackstart.report.html import curves, heat_map, lanes, tone
from blackstart.report.impact import half
from blackstart.report.model import CoveredPoint, Finding, Impact, Moment, Recovery, Report, ScenarioResult
from tests.unit.report.samples import FOLDED, FULL, LOST, PLANNED, POLICY, QUIET, UNDECIDED

BREAKING_OUT = '"><script>alert(1)</script><img src=http://x/ onerror=alert(2)>{{ 7*7 }}</style>'


class Seen(HTMLParser):
    """What stands in a page: tags with attributes, ids, text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(report: Report) -> str:
    return html.render(report).decode()


def hostile() -> Report:
    """Every text of a full report replaced by one that wants to break out."""
    told = msgspec.structs.replace(
        LOST, **dict.fromkeys(("id", "fault", "where", "advice", "replay", "consequence", "known"), BREAKING_OUT),
        evidence=(BREAKING_OUT,), paths=(BREAKING_OUT,), stack=(BREAKING_OUT,),
        timeline=tuple(msgspec.structs.replace(m, text=BREAKING_OUT) for m in LOST.timeline),
    )  # fmt: skip
    points = tuple(msgspec.structs.replace(point, path=BREAKING_OUT, call=BREAKING_OUT) for point in FULL.coverage)
    return msgspec.structs.replace(
        FULL, command=(BREAKING_OUT,), findings=(told, msgspec.structs.replace(told, known="")), coverage=points,
        notes=(BREAKING_OUT,), cwd=BREAKING_OUT, undecided=BREAKING_OUT, options={BREAKING_OUT: BREAKING_OUT},
    )  # fmt: skip


@pytest.mark.parametrize("report", [FULL, QUIET, UNDECIDED, PLANNED, hostile()])
def test_every_section_is_there_and_nothing_is_loaded_or_run(report: Report) -> None:
    seen = Seen(page(report))
    ids = [attrs["id"] for _, attrs in seen.tags if "id" in attrs]
    assert {"verdict", "change", "findings", "coverage", "surface", "worth", "environment"} <= set(ids)
    assert not {tag for tag, _ in seen.tags} & {"script", "img", "link", "iframe", "object", "base", "form", "svg"}
    for tag, attrs in seen.tags:
        assert not any(name.startswith("on") or name in ("src", "srcset") for name in attrs), (tag, attrs)
        assert (attrs.get("href") or "#").startswith("#")
    assert any(attrs.get("http-equiv") == "Content-Security-Policy" for _, attrs in seen.tags)


def test_hostile_text_is_shown_as_text() -> None:
    text = page(hostile())
    assert BREAKING_OUT in Seen(text).text and "alert(1)</script>" not in text and "49" not in Seen(text).text
    full = page(FULL)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", full) and r"caf\xe9" in full and r"\u202e" in full


def test_each_failure_leads_to_its_finding_and_each_finding_to_its_replay() -> None:
    first, *others = (one for one in FOLDED.findings if one.counts)
    noted = msgspec.structs.replace(POLICY, id="lost-9", replay="blackstart replay lost-9")
    point = CoveredPoint(kind="kill", call="write", path="$CWD/count", failed=1, found=(others[-1].id, first.id))
    seen_so = CoveredPoint(kind="power", path="$CWD/count", failed=1, found=(noted.id,))
    failed = ScenarioResult(id="process.kill", title="SIGKILL", state="failed", failed=1, found=(first.id,))
    report = msgspec.structs.replace(
        FOLDED, findings=(first, *others, noted), coverage=(point, seen_so), scenarios=(failed,)
    )
    text = page(report)
    seen = Seen(text)
    ids = [attrs["id"] for _, attrs in seen.tags if "id" in attrs]
    links = [str(attrs["href"])[1:] for tag, attrs in seen.tags if tag == "a"]
    assert len(ids) == len(set(ids)) and set(links) <= set(ids)
    assert {one.id for one in others} & set(links), "those that are folded are reached from the first"
    cells = [attrs["href"] for tag, attrs in seen.tags if tag == "a" and "cell" in str(attrs.get("class"))]
    assert cells == [f"#{first.id}", f"#{noted.id}", f"#{first.id}"], "the worst of them; the scenario, too"
    assert noted.replay in text


def test_the_verdict_and_the_change_are_said_first() -> None:
    text = " ".join(Seen(page(FULL)).text.split("Findings")[0].split())
    assert "2 findings: 1 lost, 1 crashed" in text
    assert "1 new since run 2" in text and "1 seen again" in text and "1 fixed" in text and "1 not tried again" in text
    assert "no earlier run" in page(QUIET) and "No defect was found" in page(QUIET)


def test_one_place_is_one_story_with_the_others_folded_under_it() -> None:
    text = " ".join(Seen(page(FOLDED)).text.split())
    assert "7 findings in 2 places" in text
    assert "4 more findings in this place, by other faults" in text and "1 more finding in this place" in text
    assert "write $CWD/count @1 fails with EIO (unclean)" in text
    assert "For unclean-1d: End with a status other than 0 where the work was not done." in text


@pytest.mark.parametrize(
    ("report", "expected"), [(FULL, "bad"), (QUIET, "good"), (UNDECIDED, "unsure"), (PLANNED, "unsure")]
)
def test_the_colour_of_the_verdict(report: Report, expected: str) -> None:
    assert tone(report) == expected
    assert f'class="verdict {expected}"' in page(report)


def test_the_heat_map_adds_up_files_and_calls_and_puts_failing_files_first() -> None:
    points = [
        CoveredPoint(kind="errno", call="write", path="b", what="EIO", passed=2),
        CoveredPoint(kind="errno", call="fsync", path="b", what="EIO", passed=1, not_fired=1),
        CoveredPoint(kind="kill", call="write", path="a", failed=1, unknown=2),
        CoveredPoint(kind="file", path="b", what="empty", unknown=1),
    ]
    rows, kinds, left_out = heat_map(points)
    assert ([row.name for row in rows], kinds, left_out) == (["a", "b"], ["errno", "kill", "file"], 0)
    assert {kind: cell.text for kind, cell in rows[1].cells.items()} == {"errno": "✓ 3", "file": "? 1"}
    assert {name: row.cells["errno"].text for name, row in rows[1].calls.items()} == {"write": "✓ 2", "fsync": "✓ 1"}
    assert (rows[0].cells["kill"].text, rows[0].cells["kill"].said) == ("✗ 1/3", "1 failed, 2 unknown")
    assert heat_map([CoveredPoint(kind="kill", path=str(n), passed=1) for n in range(70)])[2] == 10


def test_the_fault_is_shaded_from_inject_to_heal() -> None:
    marks = [(0.0, "start"), (1.0, "inject"), (3.0, "heal"), (4.0, "end")]
    moments = [Moment(at_s=at, mark=mark, run="run", text="f") for at, mark in marks]  # type: ignore[arg-type]
    again = (Moment(at_s=4.0, mark="start", run="restart"), Moment(at_s=4.0, mark="end", run="restart"))
    first, second = lanes(msgspec.structs.replace(LOST, timeline=(*moments, *again)))
    assert first["shades"] == [(25.0, 50.0)] and first["share"] == 1.0
    assert second["share"] == 0.12 and second["took"] == "no time" and not second["shades"]
    assert lanes(msgspec.structs.replace(LOST, timeline=())) == []


def test_the_last_step_of_a_recovery_at_the_end_of_what_was_watched_can_be_seen() -> None:
    recovery = Recovery(
        since="healing", trials=2, recovered=2, median_s=0.5, watched_s=1.0, curve=((0.5, 0.5), (1.0, 0.0))
    )
    [drawn] = curves(Impact(kind="kill", trials=2, recoveries=(recovery,)))
    assert drawn["half"] == "half within 0.50 s"
    for median_s, told in ((0.0004, "half within 0.01 s"), (-1.0, "not half within 1.0 s")):
        assert half(msgspec.structs.replace(recovery, median_s=median_s)) == told
    left, width, height = drawn["steps"][-1]
    assert height == 100 and width > 2 and left + width == pytest.approx(100)


def test_a_known_gap_is_not_a_defect() -> None:
    known = msgspec.structs.replace(LOST, known="we live with it (Ann)")
    text = Seen(page(msgspec.structs.replace(QUIET, findings=(known,)))).text
    assert "No defect was found" in text and "we live with it (Ann)" in text and "1 known gap" in text


def test_ten_thousand_points_make_a_page_of_a_bearable_size() -> None:
    points = tuple(CoveredPoint(kind="kill", call="write", path=f"f{n}", passed=1) for n in range(10_000))
    found: tuple[Finding, ...] = (LOST,) * 50
    assert len(page(msgspec.structs.replace(FULL, coverage=points, findings=found))) < 2_000_000
