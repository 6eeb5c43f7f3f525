"""`blackstart failpoints` reads source and tests, and says which names lead nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from blackstart.cli import failpoints

SOURCE = 'text = "# failpoint: no"\ndef f():\n    # failpoint: save-write\n    pass\n    pass  # failpoint: save-end\n'
TEST = (
    "def test_it(failpoints, armed, module):\n    failpoints.arm('save-wrote', 'off')\n"
    "    with armed(['save-end', 'gone'], 'off'), module.armed('save-write', 'off'):\n        pass\n"
    "    for fault in sweep('save-writ'):\n        pass\n"
    "    with in_children({'save-end': 'kill', 'left': 'kill'}):\n        pass\n"
)


def test_it_lists_what_stands_in_the_source_and_imports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store.py").write_text("raise SystemExit\n" + SOURCE)
    monkeypatch.chdir(tmp_path)
    assert failpoints.run(["."], []) == 0
    assert capsys.readouterr().out == "save-end  store.py:6\nsave-write  store.py:4\n"


def test_names_that_tests_arm_and_nobody_has_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store.py").write_text(SOURCE)
    (tmp_path / "test_store.py").write_text(TEST)
    assert failpoints.run([str(tmp_path / "store.py")], [str(tmp_path)]) == 1
    told = [line.rpartition("test_store.py:")[2] for line in capsys.readouterr().out.splitlines()[2:]]
    more = ["5: no failpoint 'save-writ'; did you mean 'save-write'?", "7: no failpoint 'left'"]
    assert sorted(told) == ["2: no failpoint 'save-wrote'; did you mean 'save-write'?", "3: no failpoint 'gone'", *more]


def test_names_that_stand_twice_or_are_none_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text("# failpoint: twice\n# failpoint: Bad Name\n")
    (tmp_path / "b.py").write_text("# failpoint: twice\n")
    assert failpoints.run([str(tmp_path)], []) == 1
    shown = capsys.readouterr().out
    assert shown.count("the name stands in more than one place") == 2
    assert "Bad Name" in shown


def test_a_failpoint_that_is_a_call_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store.py").write_text(
        "from blackstart import inprocess\ndef f():\n    return inprocess.failpoint('as-a-call')\n" + SOURCE
    )
    (tmp_path / "test_store.py").write_text("def test_it(failpoints):\n    failpoints.arm('as-a-call', 'return(3)')\n")
    assert failpoints.run([str(tmp_path / "store.py")], [str(tmp_path / "test_store.py")]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["as-a-call", "save-end", "save-write"]


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store.py").write_text(f"{SOURCE}def g(:\n")
    (tmp_path / "latin.py").write_bytes(b"# failpoint: save-end\ns = '\xff'\n")
    (tmp_path / "other.py").write_text("print 'none of ours'\n")
    (tmp_path / "closed.py").symlink_to("/proc/self/mem")  # may be opened, and not read, by root too
    (tmp_path / "test_store.py").write_text("def test_it(failpoints)\n    failpoints.arm('gone', 'off')\n")
    assert failpoints.run([str(tmp_path)], [str(tmp_path / "test_store.py")]) == 1
    told = [line.removeprefix(f"{tmp_path}/") for line in capsys.readouterr().out.splitlines()]
    assert [line.partition(": cannot be read: ")[::2] for line in told] == [
        ("closed.py", "Input/output error"),
        ("latin.py", "its bytes are no text in the encoding that it declares (UTF-8 if none)"),
        ("store.py", "line 6: invalid syntax"),
        ("test_store.py", "line 1: expected ':'"),
    ]
