"""Frames of stacks, read and shown."""

from __future__ import annotations

import pytest

from blackstart.core.frames import Frame, read_frame, shown_frame, shown_name, shown_place


@pytest.mark.parametrize(
    ("text", "frame", "shown"),
    [
        ("$CWD/notes.py:add:14", Frame("$CWD/notes.py", "add", 14), "add ($CWD/notes.py:14)"),
        ("$CWD/notes.py:<module>:3", Frame("$CWD/notes.py", "<module>", 3), "<module> ($CWD/notes.py:3)"),
        (
            "/v/lib/python3.11/site-packages/shop/db.py:Table.put:7",
            Frame("/v/lib/python3.11/site-packages/shop/db.py", "Table.put", 7),
            "Table.put (shop/db.py:7)",
        ),
        ("/usr/lib/python3.11/json/encoder.py:dump:1", None, "dump (json/encoder.py:1)"),
        ("/usr/bin/tool:uv_fs_write:0", Frame("/usr/bin/tool", "uv_fs_write", 0), "uv_fs_write (/usr/bin/tool)"),
        ("store.cc:db::Table::put(int):12", Frame("store.cc", "db::Table::put(int)", 12), None),
        ("/usr/bin/tool:" + "x" * 99 + ":0", None, "x" * 59 + "… (/usr/bin/tool)"),
    ],
)
def test_a_frame_is_read_and_shown(text: str, frame: Frame | None, shown: str | None) -> None:
    assert frame is None or read_frame(text) == frame
    assert shown is None or shown_frame(text) == shown


def test_what_is_no_frame_is_left_as_it_is() -> None:
    assert read_frame("somewhere") is None and shown_frame("somewhere") == "somewhere"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("_ZN4File5closeEv", "File::close"),
        (f"_ZN{'9' * 5000}E", f"_ZN{'9' * 5000}E"),
        ("_ZNK3app4File4pathEv", "app::File::path"),
        ("_ZNSt6thread4joinEv", "std::thread::join"),
        ("_ZN4FileC1Ev", "File::File"),
        ("_ZN4FileD2Ev", "File::~File"),
        ("_ZNSt6vectorI4TaskSaIS0_EE7reserveEm", "_ZNSt6vectorI4TaskSaIS0_EE7reserveEm"),
        ("_ZN9x", "_ZN9x"),
        ("_ZN", "_ZN"),
        ("main.(*Store).Save", "main.(*Store).Save"),
    ],
)
def test_plain_names_of_c_plus_plus_read_as_they_were_written(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_a_guess_in_a_shared_library_names_no_place() -> None:
    guess = ("/usr/lib/libacl.so.1:acl_from_mode:0", "/usr/bin/rotate:rename_log:0")
    assert shown_place(guess) == " near rename_log (/usr/bin/rotate)"
    assert shown_place(guess[:1]) == "" == shown_place(())
    assert shown_place(("/usr/lib/libdb.so:__db_sync:77",)) == " at __db_sync (/usr/lib/libdb.so:77)"
