"""What a run derives from its clock is known by its value: seconds apart it is masked as it is a day later.

Shown here: the moment of a run in names, lines, leaves and keys; constants that look like dates.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from blackstart.core.masking import Masker, same
from blackstart.core.reading import FileState
from blackstart.probes.content import read
from blackstart.surface import Moment, Observation, extend, learn
from blackstart.surface.moment import cut, spans, tells

# Two clean runs a second and a half apart, in one minute; and a trial on another day.
FIRST, SECOND = (datetime(2026, 3, 7, 14, 5, second, tzinfo=UTC) for second in (21, 23))
LATER = datetime(2026, 4, 18, 9, 41, 58, tzinfo=UTC)
DATED = ["backup-{:%Y%m%d-%H%M}.json", "log-{epoch}.txt", "{:%Y-%m-%d}", "{:%Y/%m/%d}", "{:%d.%m.%Y}", "{:%y%m%d}",
         "day_{:%Y_%m_%d}__{:%H_%M}.tar", "x.{:%Y-%m-%dT%H-%M}Z", "report {:%b %d, %Y}", "{:%Y-%m}.csv",
         "{:%Y-%m-%d}/{:%H%M}"]  # fmt: skip


def moment(at: datetime, zones_s: tuple[int, ...] = (0,)) -> Moment:
    return Moment(began_s=at.timestamp() - 0.4, ended_s=at.timestamp() + 0.4, zones_s=zones_s)


def written(template: str, at: datetime) -> str:
    return template.replace("{:", "{0:").format(at, epoch=int(at.timestamp()))


def file(path: str, data: bytes) -> FileState:
    content = read(data, path)
    return FileState(path=path, size=len(data), digest=content.digest, content=content)


def ran(at: datetime, files: dict[str, str], before: dict[str, str] | None = None, stdout: str = "") -> Observation:
    image = {path: file(path, text.encode()) for path, text in files.items()}
    old = {path: file(path, text.encode()) for path, text in (before or {}).items()}
    return Observation(
        image={**old, **image}, before=old, paths=frozenset(files), stdout=stdout.encode(), moment=moment(at)
    )


def learnt(one: Observation, other: Observation) -> Masker:
    return Masker(learn(one, other, cwd="/w", home="/home/me"))


@pytest.mark.parametrize("template", DATED)
def test_a_name_made_from_the_clock_has_the_same_masked_name_a_month_later(template: str) -> None:
    path = "/w/kept/" + template + "/of.txt"
    runs = [ran(at, {written(path, at): "same"}) for at in (FIRST, SECOND)]
    masker = learnt(*runs)
    names = {masker(written(path, at)) for at in (FIRST, SECOND, LATER)}
    assert len(names) == 1 and "*" in names.pop()
    assert not masker.mask.hopeless
    assert masker("/w/kept/else.json") == "$CWD/kept/else.json"


@pytest.mark.parametrize("ids", [("c3b70a6f", "e91c9e13"), ("0042", "7719"), ("1234abcd", "99999999"), ("2", "303")])
@pytest.mark.parametrize("template", DATED[:3] + DATED[5:9])
def test_what_is_random_beside_the_moment_does_not_hide_it(template: str, ids: tuple[str, str]) -> None:
    names = [f"/w/kept/{written(template, at)}-{end}.html" for at, end in zip((FIRST, SECOND), ids, strict=True)]
    masker = learnt(*(ran(at, {name: "same"}) for at, name in zip((FIRST, SECOND), names, strict=True)))
    assert not masker.mask.hopeless
    late = masker(f"/w/kept/{written(template, LATER)}-{ids[0]}.html")
    assert late == masker(names[0]) == masker(names[1])
    assert masker("/w/kept/else-0042.html") == "$CWD/kept/else-0042.html"


@pytest.mark.parametrize("template", [*DATED, "{:%H:%M}", "{:%a %b %d %H:%M:%S %Y}", "[{:%d/%b/%Y:%H:%M:%S +0000}]",
                                      "{:%Y-%m-%d %H:%M:%S,250}", "{:%b %d %H:%M:%S}", "{:%I:%M %p}"])  # fmt: skip
@pytest.mark.parametrize("line", ["{} INFO started", "saved at {}, 3 notes", "[{}] all well"])
def test_a_line_made_from_the_clock_is_the_same_line_a_month_later(line: str, template: str) -> None:
    texts = [line.replace("{}", written(template, at)) for at in (FIRST, SECOND, LATER)]
    masker = learnt(*(ran(at, {}, stdout=f"begin\n{text}\n") for at, text in zip((FIRST, SECOND), texts, strict=False)))
    shown = {masker.text("stdout", f"begin\n{text}\n".encode()) for text in texts}
    assert len(shown) == 1
    assert masker.text("stdout", texts[2].replace("started", "stopped").replace("3", "2").encode()) not in shown


def test_a_stamp_at_the_start_of_lines_is_masked_before_any_message() -> None:
    runs = [ran(at, {"/w/app.log": f"{at:%H:%M} begin\n{at:%H:%M} end\n"}) for at in (FIRST, SECOND)]
    masker = learnt(*runs)
    assert masker.line("$CWD/app.log", "09:41 something new") == "* something new"
    assert masker.line("$CWD/app.log", "open from 09:41") == "open from 09:41"


def test_a_moment_after_a_word_is_masked_in_lines_that_no_clean_run_wrote() -> None:
    runs = [
        ran(at, {"/w/e.log": f'{{"id": 1, "at": {at.timestamp()}, "n": 3}}\n{{"id": 2}}\n'}) for at in (FIRST, SECOND)
    ]
    masker = learnt(*runs)
    third = f'{{"id": 3, "at": {LATER.timestamp()}, "n": 7}}'
    assert masker.line("$CWD/e.log", third) == '{"id": 3, "at": *, "n": 7}'
    assert masker.line("$CWD/e.log", '{"id": 3, "flat": 1700000000.0}') == '{"id": 3, "flat": 1700000000.0}'


def test_leaves_and_keys_that_tell_the_moment_are_masked_and_others_are_compared() -> None:
    def kept(at: datetime, count: int = 3) -> str:
        return json.dumps(
            {"on": f"{at:%Y-%m-%d}", "note": f"done {at:%H:%M}", "n": count, "days": {f"{at:%Y-%m-%d}": 1}}
        )

    masker = learnt(*(ran(at, {"/w/a.json": kept(at)}) for at in (FIRST, SECOND)))
    first, later, other = (
        masker.state("$CWD/a.json", file("a.json", text.encode()))
        for text in (kept(FIRST), kept(LATER), kept(LATER, 2))
    )
    assert same(first, later)
    assert not same(first, other)


def test_what_looks_like_a_date_and_is_not_the_run_s_own_is_compared() -> None:
    data = {"/w/release-20240101.json": '{"version": "2024-01-01", "at": "12:30", "id": 1700000000}', "/w/n": "00:01\n"}
    runs = [ran(at, data, stdout="release 2024-01-01 at 12:30\n") for at in (FIRST, SECOND)]
    mask = learnt(*runs).mask
    assert mask == learn(ran(FIRST, {}), ran(SECOND, {}), cwd="/w", home="/home/me")


def test_what_stood_there_before_the_run_is_not_its_own() -> None:
    due = {"/w/todo.json": f'{{"due": "{FIRST:%Y-%m-%d}"}}'}
    assert not learnt(ran(FIRST, due, before=due), ran(SECOND, due, before=due)).mask.leaves


def test_what_only_one_run_tells_is_a_constant() -> None:
    runs = [ran(at, {"/w/n.json": f'{{"at": "{FIRST:%H:%M:%S}"}}'}) for at in (FIRST, FIRST.replace(hour=15))]
    assert not learnt(*runs).mask.leaves


def test_a_moment_in_the_time_zone_of_the_target_is_known() -> None:
    text = "2026-03-07 16:05"
    assert not tells(text, moment(FIRST))
    assert tells(text, moment(FIRST, (0, 7200)))
    assert tells("2026-03-07T19:35:21+05:30", moment(FIRST))


@pytest.mark.parametrize("text", ["", "1.2.3.4", "20240101", "2026-03-08", "14:06", "14:04", "2026", "1405", "x" * 5000,
                                  "2026-99-99", "0000-00-00 14:06", "12345678901234567890", "99:99:99"])  # fmt: skip
def test_other_moments_and_what_is_none_are_left_alone(text: str) -> None:
    assert not spans(text, moment(FIRST))


def test_masking_again_changes_nothing() -> None:
    path = "/w/{:%Y}/{:%m}/{:%d}/at-{:%H%M}-{epoch}.log"
    masker = learnt(*(ran(at, {written(path, at): f"{at:%H:%M} {at:%Y-%m-%d} x"}) for at in (FIRST, SECOND)))
    masked = masker(written(path, LATER))
    assert masker(masked) == masked
    assert PurePosixPath(masked).name.startswith("at-")
    line = masker.line(masked, f"{LATER:%H:%M} {LATER:%Y-%m-%d} x")
    assert line == masker.line(masked, line) == "* * x"


def test_pieces_join_to_the_text() -> None:
    text = f"a {FIRST:%Y-%m-%d} b {FIRST:%H:%M} c"
    pieces = cut(text, spans(text, moment(FIRST)))
    assert "".join(pieces) == text and len(pieces) == 5


def test_a_mask_learnt_from_one_start_serves_the_next() -> None:
    names = [f"/w/{at:%Y%m%d}-{word}.txt" for at in (FIRST, SECOND) for word in ("a", "b")]
    mask = learn(ran(FIRST, {names[0]: ""}), ran(SECOND, {names[2]: ""}), cwd="/w", home="/home/me")
    mask = extend(mask, ran(FIRST, {names[1]: ""}), ran(SECOND, {names[3]: ""}))
    assert {Masker(mask)(f"/w/{LATER:%Y%m%d}-{word}.txt") for word in "ab"} == {"$CWD/*-a.txt", "$CWD/*-b.txt"}
