"""Roles are measured from traces, images and deletion trials."""

from __future__ import annotations

import os
from typing import Any

import pytest

from blackstart.core.calibration import CleanRun, Mask
from blackstart.core.masking import Masker
from blackstart.core.reading import Content, FileState, Image
from blackstart.core.trace import Operation
from blackstart.surface import Deletion, Moment, deletion_candidates, judge_deletion, roles, surface

READ, WRITE, READ_WRITE = 0, 0o1, 0o2
CREATE, EXCLUSIVE, TRUNCATE, APPEND = os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND
MASKER = Masker(Mask(names=((r"^/d/tmp[a-z0-9]{8}(?=/|$)", "/d/tmp*"),)))


def opened(path: str, flags: int = READ) -> Operation:
    return Operation(index=0, call="openat", path=path, flags=flags, kind="file")


def wrote(path: str, data: bytes = b"x", process: int = 1) -> Operation:
    return Operation(index=0, call="write", path=path, data=data, size=len(data), kind="file", process=process)


def op(call: str, path: str, path2: str = "") -> Operation:
    return Operation(index=0, call=call, path=path, path2=path2, kind="file")


def image(*paths: str, text: str = "x", kind: str = "file", mode: int = 0o644) -> Image:
    content = Content(form="text", leaves=(("1", text),), digest=text, count=1)
    return {p: FileState(path=p, size=len(text), digest=text, content=content, kind=kind, mode=mode) for p in paths}


def role(path: str, trace: list[Operation], *images: Image, **changes: Any) -> str:
    given = images or (image(path), image(path))
    return roles([trace], given, changes.pop("deletions", {}), MASKER, **changes).get(path, "")


def test_only_read_is_config_and_code_is_install() -> None:
    assert role("/d/app.ini", [opened("/d/app.ini")]) == "config"
    assert role("/d/app.py", [opened("/d/app.py")]) == "install"
    assert role("/usr/lib/x.so.1", [opened("/usr/lib/x.so.1")]) == "install"
    assert role("/d/tool", [op("execve", "/d/tool")]) == "install"
    compiled = "/d/__pycache__/app.pyc"
    assert role(compiled, [op("read", compiled), opened(compiled, WRITE | CREATE), wrote(compiled)]) == "install"


def test_what_lies_beside_an_executed_program_is_its_installation() -> None:
    trace = [op("execve", "/d/tool/bin/tool"), op("read", "/d/tool/hooks/first"), op("read", "/d/tool/etc/settings")]
    assert role("/d/tool/hooks/first", trace, {}, {}) == "install"
    assert role("/d/tool/etc/settings", trace, {}, {}) == "config"


def test_what_was_looked_for_in_vain_and_devices_have_no_role() -> None:
    assert role("/d/app.ini", [opened("/d/app.ini")], {}, {}) == ""
    assert role("/dev/null", [opened("/dev/null", READ_WRITE), wrote("/dev/null")], {}, {}) == ""
    assert role("/d", [opened("/d", os.O_DIRECTORY)], {}, {}) == ""


def test_flags_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "O_DIRECTORY", 0o40000)  # as on arm64, where 0o200000 is O_DIRECT
    assert role("/d", [opened("/d", 0o40000)], {}, {}) == ""
    assert role("/d/n", [opened("/d/n", 0o200000)]) == "config"


def test_a_script_named_on_the_command_line_is_install() -> None:
    script = image("/d/run", text="#!/bin/sh")
    assert role("/d/run", [opened("/d/run")], script, arguments=["/d/run"]) == "install"
    assert role("/d/run", [opened("/d/run")], image("/d/run"), arguments=["/d/run"]) == "config"


@pytest.mark.parametrize("name", ["t.sh", "t.mjs", "t.lua"])
def test_a_script_is_install_by_its_suffix_too(name: str) -> None:
    assert role(f"/d/{name}", [opened(f"/d/{name}")]) == "install"


def test_a_database_that_is_mapped_and_locked_is_no_lock() -> None:
    trace = [opened("/d/x.db", READ_WRITE | CREATE), op("flock", "/d/x.db")]
    assert role("/d/x.db", trace) == "lock"
    assert role("/d/x.db", [*trace, op("mmap", "/d/x.db")]) == "state"


def test_read_and_written_is_state() -> None:
    trace = [opened("/d/n"), opened("/d/n", WRITE | TRUNCATE), wrote("/d/n")]
    assert role("/d/n", trace) == "state"
    assert role("/d/n", [opened("/d/n", READ_WRITE), wrote("/d/n")]) == "state"
    renamed = [opened("/d/n"), opened("/d/n.new", WRITE | CREATE), wrote("/d/n.new"), op("rename", "/d/n.new", "/d/n")]
    assert role("/d/n", renamed) == "state"
    assert role("/d/n.new", renamed, image("/d/n"), image("/d/n")) == "scratch"


def test_a_deletion_trial_tells_a_cache_from_state() -> None:
    trace = [opened("/d/n"), opened("/d/n", WRITE | TRUNCATE), wrote("/d/n")]

    def after(**changes: bool) -> str:
        values = {"answers_changed": False, "answers_could_differ": True, "rebuilt_equal": True, **changes}
        return role("/d/n", trace, deletions={"/d/n": Deletion(path="/d/n", **values)})

    assert after() == "cache"
    assert after(answers_changed=True) == after(answers_could_differ=False) == after(rebuilt_equal=False) == "state"


def test_written_and_never_read_is_output() -> None:
    assert role("/d/out", [opened("/d/out", WRITE | CREATE | TRUNCATE), wrote("/d/out")]) == "output"


def test_append_only_and_never_read_is_a_log() -> None:
    log = [opened("/d/log", WRITE | CREATE | APPEND), wrote("/d/log")]
    state = [opened("/d/n"), opened("/d/n", WRITE | TRUNCATE), wrote("/d/n")]
    both = image("/d/log", "/d/n")
    assert role("/d/log", [*log, *state], both, both) == "log"
    assert role("/d/log", [*log, opened("/d/log")], both, both) == "state"
    assert role("/d/log", log) == "output"  # the job's only product
    assert role("/d/log", [*log, wrote("stdout")]) == "log"
    rotated = [*log, *state, op("rename", "/d/log", "/d/log.1")]
    assert role("/d/log.1", rotated, image("/d/n"), image("/d/log", "/d/log.1", "/d/n")) == "log"


def test_a_log_stays_one_where_its_rotation_makes_the_next_one_empty() -> None:
    log = [opened("/d/log", WRITE | CREATE | APPEND), wrote("/d/log")]
    rotation = [op("rename", "/d/log", "/d/log.1"), opened("/d/log", READ_WRITE | CREATE | EXCLUSIVE)]
    state = [opened("/d/n"), opened("/d/n", WRITE | TRUNCATE), wrote("/d/n")]
    both = image("/d/log", "/d/log.1", "/d/n")
    for path in ("/d/log", "/d/log.1"):
        assert role(path, [*log, *rotation, *state], both, both) == "log"
    over = [*log, opened("/d/log", READ_WRITE | CREATE), *state]
    assert role("/d/log", over, both, both) == "state"


def test_a_log_that_is_renamed_again_and_again_stays_a_log() -> None:
    moved = [op("rename", "/d/n.1", "/d/n.2"), op("rename", "/d/n", "/d/n.1")]
    trace = [*moved, opened("/d/n", WRITE | CREATE | APPEND), wrote("/d/n")]
    for path in ("/d/n.1", "/d/n.2"):
        assert role(path, trace, *[image("/d/n", "/d/n.1", "/d/n.2")] * 2) == "log"
    rewritten = [*moved, opened("/d/n", WRITE | CREATE | TRUNCATE), wrote("/d/n")]
    assert role("/d/n.2", rewritten, *[image("/d/n", "/d/n.1", "/d/n.2")] * 2) == "output"


def test_made_and_removed_is_scratch() -> None:
    trace = [
        opened("/d/tmpabcdefgh", WRITE | CREATE | EXCLUSIVE),
        wrote("/d/tmpabcdefgh"),
        op("unlink", "/d/tmpabcdefgh"),
    ]
    assert roles([trace], [{}, {}], {}, MASKER) == {"/d/tmp*": "scratch"}


def test_locks_are_exclusive_or_locked_or_hold_the_own_pid_and_are_gone_at_the_end() -> None:
    exclusive = [opened("/d/lock", WRITE | CREATE | EXCLUSIVE), op("unlink", "/d/lock")]
    directory = [op("mkdir", "/d/lock"), op("rmdir", "/d/lock")]
    pid = [opened("/d/lock", WRITE | CREATE), wrote("/d/lock", b"42\n", process=42), op("unlink", "/d/lock")]
    for trace in (exclusive, directory, pid):
        assert role("/d/lock", trace, {}, {}) == "lock"
    flocked = [opened("/d/lock", READ_WRITE | CREATE), op("flock", "/d/lock")]
    assert role("/d/lock", flocked) == "lock"
    assert role("/d/lock", [*flocked, wrote("/d/lock")]) == "state"


def test_a_number_that_happens_to_be_the_own_pid_makes_no_lock_of_what_is_renamed() -> None:
    name = "/d/n.new"
    renamed = [opened(name, WRITE | CREATE), wrote(name, b"42\n", process=42), op("rename", name, "/d/n")]
    assert role(name, renamed, image("/d/n"), image("/d/n")) == "scratch"


def test_a_file_that_a_tool_tried_to_open_as_a_folder_is_a_file() -> None:
    trace = [op("read", "/d/n"), opened("/d/n", os.O_DIRECTORY), op("rename", "/d/n.new", "/d/n")]
    assert role("/d/n", trace) == "state"


def test_a_path_that_was_only_looked_up_was_not_read() -> None:
    assert role("/d/o", [opened("/d/o", 0o10000000), opened("/d/o", WRITE | TRUNCATE), wrote("/d/o")]) == "output"
    assert role("/d/x", [op("unlink", "/d/x")], {}, {}) == ""


def test_files_that_nobody_used_and_directories_have_no_role() -> None:
    assert roles([[]], [image("/d/x"), image("/d/x")], {}, MASKER) == {}
    assert roles([[op("mkdir", "/d/x")]], [{}, image("/d/x", kind="directory")], {}, MASKER) == {}


def test_only_possible_state_that_stands_is_worth_a_deletion_trial() -> None:
    trace = [
        opened("/d/n"),
        opened("/d/n", WRITE),
        wrote("/d/n"),
        opened("/d/o", WRITE | CREATE),
        wrote("/d/o"),
        opened("/d/c"),
    ]
    images = [image("/d/n", "/d/o", "/d/c")]
    assert deletion_candidates(roles([trace], images, {}, MASKER), images[-1]) == ("/d/n",)


def deleted(clean: CleanRun, **changes: Any) -> Deletion:
    values = {"code": 0, "stdout": clean.stdout, "check": clean.check, "files": clean.files, **changes}
    return judge_deletion("/d/n", clean, **values)


NOON = Moment(began_s=1_700_000_000.0, ended_s=1_700_000_001.0)  # 22:13:20 of 14 November 2023


@pytest.mark.parametrize(
    ("form", "line", "expected"),
    [
        ("text", "order 7: two nails", "output"),
        ("text", "22:13:20 INFO two nails ordered", "log"),
        ("text", '{"ts": 1700000000.25, "level": "info"}', "log"),
        ("text", '{"order": 7, "date": "2021-05-05"}', "output"),
        ("csv", "2023-11-14", "output"),
    ],
)
def test_of_a_job_that_tells_something_the_only_file_is_its_product_if_it_holds_records(
    form: str, line: str, expected: str
) -> None:
    def with_lines(*lines: str) -> Image:
        leaves = tuple((str(number), text) for number, text in enumerate(lines, 1))
        content = Content(form=form, leaves=leaves, digest=str(lines), count=len(lines))
        return {"/d/kept": FileState(path="/d/kept", content=content)}

    trace = [opened("/d/kept", WRITE | CREATE | APPEND), wrote("/d/kept"), wrote("stdout")]
    images = [with_lines("order 6"), with_lines("order 6", line)]
    assert role("/d/kept", trace, *images, moments=[NOON]) == expected
    assert role("/d/kept", trace, *images) == "log"  # where nothing is known of the time
    beside = [*trace, opened("/d/n"), op("read", "/d/n"), opened("/d/n", WRITE | CREATE), wrote("/d/n")]
    both = [{**one, **image("/d/n")} for one in images]
    assert role("/d/kept", beside, *both, moments=[NOON]) == "log"
    eaten = [*trace, opened("/d/task"), op("read", "/d/task"), op("unlink", "/d/task")]
    fewer = [{**images[0], **image("/d/task")}, images[1]]
    assert role("/d/kept", eaten, *fewer, moments=[NOON]) == expected  # what is only taken away is not made


@pytest.mark.parametrize(
    ("line", "expected"),
    [("2023/11/14-22:13:20 recovering", "log"), ("2023/11/12-22:13:20 recovering", "output"), ("4 nails", "output")],
)
def test_beside_state_a_text_that_tells_when_each_line_was_written_is_a_log(line: str, expected: str) -> None:
    def with_line(text: str) -> Image:
        return {**image("/d/LOG", text=text), **image("/d/LOG.old", "/d/n")}

    anew = [op("rename", "/d/LOG", "/d/LOG.old"), opened("/d/LOG", WRITE | CREATE | TRUNCATE), wrote("/d/LOG")]
    beside = [*anew, opened("/d/n"), op("read", "/d/n"), opened("/d/n", WRITE | CREATE), wrote("/d/n")]
    images = [with_line("earlier"), with_line(line)]
    assert role("/d/LOG", beside, *images, moments=[NOON]) == expected
    assert role("/d/LOG.old", beside, *images, moments=[NOON]) == expected
    assert role("/d/LOG", anew, *images, moments=[NOON]) == "output"  # it is all there is


def test_answers_are_exit_status_stdout_check_and_files_written_but_not_logs() -> None:
    trace = (
        wrote("/d/n"), wrote("/d/o"), opened("/d/log", WRITE | CREATE | APPEND), wrote("/d/log"), opened("/d/script"),
    )  # fmt: skip
    files = image("/d/n", "/d/o", "/d/log", "/d/script")
    clean = CleanRun(start="S1", code=0, elapsed_s=0.1, stdout="42\n", check="0\nfine\n", files=files, trace=trace)
    same = deleted(clean, stderr="rebuilding\n", files={**files, **image("/d/log", text="rebuilding")})
    assert (same.answers_changed, same.answers_could_differ, same.rebuilt_equal) == (False, True, True)
    assert deleted(clean, code=1).answers_changed
    assert deleted(clean, stdout="0\n").answers_changed
    assert deleted(clean, check="1\nfine\n").answers_changed
    assert deleted(clean, files={**files, **image("/d/o", text="y")}).answers_changed
    assert not deleted(clean, files={**files, **image("/d/n", text="y")}).rebuilt_equal
    silent = CleanRun(start="S1", code=0, elapsed_s=0.1, stdout="*\n", files=files, trace=trace)
    assert not deleted(silent).answers_could_differ
    changing = CleanRun(
        start="S1", code=0, elapsed_s=0.1, files=files, trace=trace, versions={"/d/o": (None, files["/d/o"])}
    )
    assert deleted(changing).answers_could_differ


def test_the_surface_lists_files_peers_ports_and_programs() -> None:
    trace = [
        op("connect", "socket:inet:1.2.3.4:80"), op("bind", "socket:inet:0.0.0.0:8080"), op("execve", "/usr/bin/sort"),
        Operation(index=0, call="kill", flags=15), Operation(index=0, call="kill", flags=0),
    ]  # fmt: skip
    content = Content(form="sqlite", digest="d")
    seen = surface(
        [trace], {"/d/n": "state"}, {"/d/n": FileState(path="/d/n", content=content)}, {"/d/m": "shared mapping"},
        peers=["socket:inet:127.0.0.1:53", "socket:inet:1.2.3.4:80"],
    )  # fmt: skip
    assert (seen.databases, seen.ports) == (("/d/n",), ("inet:0.0.0.0:8080",))
    # To the second only datagrams were sent, without a connect.
    assert seen.peers == ("inet:1.2.3.4:80", "inet:127.0.0.1:53")
    assert seen.signals == ("SIGTERM",)
    assert (seen.programs, seen.uncovered) == (("/usr/bin/sort",), {"/d/m": "shared mapping"})
