"""Where a campaign stands: command, environment, state directories; and what is said when that cannot be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from blackstart.campaign import ground
from blackstart.core.errors import BlackstartError, TargetError
from blackstart.core.options import Options
from blackstart.core.trace import Operation

HOST = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "LANG": "de_DE", "BLACKSTART_DEBUG": "1", "TZ": "Asia/Tokyo"}


def options(cwd: Path, *command: str, **more: object) -> Options:
    return Options(command=command or ("true",), cwd=str(cwd), **more)  # type: ignore[arg-type]


def program(path: Path, mode: int = 0o755) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_the_environment_is_the_hosts_with_what_is_pinned(tmp_path: Path) -> None:
    env = ground.environment(options(tmp_path, env={"MODE": "fast"}), {**HOST, "HOME": str(tmp_path)})
    assert env == {
        "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "de_DE", "MODE": "fast",
        "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0",
    }  # fmt: skip


def test_what_was_asked_for_by_name_wins_over_what_is_pinned(tmp_path: Path) -> None:
    env = ground.environment(options(tmp_path, env={"TZ": "Europe/Rome", "HOME": "/srv"}), HOST)
    assert (env["TZ"], env["HOME"]) == ("Europe/Rome", "/srv")


@pytest.mark.parametrize("host", [{}, {"HOME": ""}, {"HOME": "/no/such/home"}])
def test_who_has_no_home_lives_in_the_root(host: dict[str, str]) -> None:
    assert ground.home(host) == "/"


def test_a_program_is_found_as_a_shell_finds_it(tmp_path: Path) -> None:
    program(tmp_path / "tool")
    made = ground.command(options(tmp_path, "tool", "x"), {"PATH": str(tmp_path)})
    assert (made.argv, made.cwd) == (("tool", "x"), str(tmp_path))
    assert ground.command(options(tmp_path, "./tool"), {}).argv == ("./tool",)


def test_a_command_in_quotes_is_told_to_leave_them_or_to_take_a_shell(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="there is no command 'echo hi > x'") as caught:
        ground.command(options(tmp_path, "echo hi > x"), HOST)
    assert "leave its quotes out" in caught.value.next_step and "-- sh -c 'echo hi > x'" in caught.value.next_step
    program(tmp_path / "my tool")
    assert ground.command(options(tmp_path, "./my tool"), HOST).argv == ("./my tool",)


@pytest.mark.parametrize("name", ["no-such-program", "./no-such-program"])
def test_a_program_that_does_not_exist(name: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="there is no command") as caught:
        ground.command(options(tmp_path, name), HOST)
    assert caught.value.next_step
    assert caught.value.where == str(tmp_path)


def test_a_program_that_may_not_be_executed(tmp_path: Path) -> None:
    program(tmp_path / "tool", 0o644)
    with pytest.raises(TargetError, match="cannot be executed") as caught:
        ground.command(options(tmp_path, "./tool"), HOST)
    assert "chmod +x" in caught.value.next_step


def test_a_directory_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    with pytest.raises(TargetError, match="is a directory") as caught:
        ground.command(options(tmp_path, "./dir"), HOST)
    assert "chmod" not in caught.value.next_step


def test_no_command_at_all(tmp_path: Path) -> None:
    with pytest.raises(BlackstartError, match="no command to run") as caught:
        ground.command(Options(command=(), cwd=str(tmp_path)), HOST)
    assert "--" in caught.value.next_step


def test_the_file_for_stdin_is_meant_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("x")
    assert ground.command(options(tmp_path, stdin="input"), HOST).stdin == str(tmp_path / "input")
    for missing in ("none", "."):
        with pytest.raises(BlackstartError, match="--stdin") as caught:
            ground.command(options(tmp_path, stdin=missing), HOST)
        assert caught.value.next_step


def test_a_fifo_is_no_file_for_stdin(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BlackstartError, match="--stdin"):
        ground.command(options(tmp_path, stdin="fifo"), HOST)


@pytest.mark.parametrize(("text", "word"), [("echo 'open", "cannot be read"), ("   ", "empty")])
def test_a_check_that_is_no_command_line(text: str, word: str, tmp_path: Path) -> None:
    target = ground.command(options(tmp_path), HOST)
    with pytest.raises(BlackstartError, match=word) as caught:
        ground.check_command(options(tmp_path, check=text), target)
    assert caught.value.next_step


def test_the_check_is_asked_where_the_target_lives(tmp_path: Path) -> None:
    target = ground.command(options(tmp_path), HOST)
    assert ground.check_command(options(tmp_path), target) is None
    check = ground.check_command(options(tmp_path, check="cat notes | sort"), target)
    assert check is not None
    assert (check.argv, check.cwd, check.env) == (("/bin/sh", "-c", "cat notes | sort"), target.cwd, target.env)


def test_declared_state_is_directories_each_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "db").write_text("x")
    (tmp_path / "link").symlink_to("data")
    declared = ground.declared(options(tmp_path, state=("data", "data/db", "link", str(tmp_path / "data"))))
    assert declared == ([str(tmp_path / "data")], [])


def test_a_declared_file_in_a_large_directory_stands_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "LARGE_FILES", 1)
    for name in ("db", "other"):
        (tmp_path / name).touch()
    assert ground.declared(options(tmp_path, state=("db", "db"))) == ([], [str(tmp_path / "db")])


def test_declared_state_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(BlackstartError, match="does not exist") as caught:
        ground.declared(options(tmp_path, state=("none",)))
    assert (caught.value.where, caught.value.exit_status) == ("none", 2)
    assert caught.value.next_step


def test_directories_in_which_something_changed(tmp_path: Path) -> None:
    for name in ("a/b", "a/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    changed = ["a/b/file", "a/b/new/deep/file", "d/file"]
    found = ground.state_directories(str(tmp_path / name) for name in changed)
    assert found == ([str(tmp_path / "a/b"), str(tmp_path / "d")], [])


def test_only_what_is_new_in_a_large_directory_is_state(tmp_path: Path) -> None:
    (tmp_path / ".config").mkdir()
    for number in range(ground.SMALL_FILES + 1):
        (tmp_path / ".config" / f"{number}.ini").touch()
    changed = [".config/app/state.json", ".config/app/deep/log", ".app.json", ".config/7.ini"]
    small, large = tmp_path / "small", tmp_path / ".config"
    small.mkdir()
    names = [str(tmp_path / name) for name in changed]
    assert ground.state_directories(names[:3]) == ([], [str(tmp_path / ".app.json"), str(large / "app")])
    assert ground.state_directories([names[0], str(small / "new/x")]) == ([str(small)], [str(large / "app")])
    assert ground.state_directories(names) == ([str(large)], [str(tmp_path / ".app.json")])


def test_a_file_alone_is_state_where_its_directory_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "LARGE_FILES", 3)
    for name in (".notes", *"abc"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    changed = [str(tmp_path / ".notes"), str(tmp_path / "sub" / "x")]
    assert ground.state_directories(changed) == ([str(tmp_path / "sub")], [str(tmp_path / ".notes")])
    (tmp_path / "a").unlink()
    assert ground.state_directories(changed[:1]) == ([str(tmp_path)], [])


def test_a_directory_within_another_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    found = ground.state_directories(str(tmp_path / name) for name in ("a/b/file", "a/file", "ab/file"))
    assert found == ([str(tmp_path / "a"), str(tmp_path / "ab")], [])


def test_the_installation_and_the_replaced_places_are_nobodys_state() -> None:
    changed = ["/usr/lib/x", "/etc-like", "/tmp/file", "/run/x.pid", "/dev/shm/sem", "/var/tmp/y"]
    assert ground.state_directories(changed) == ([], [])


def test_byte_code_is_no_state(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    changed = [tmp_path / "__pycache__" / "x.cpython-311.pyc", tmp_path / "x.pyc", tmp_path / "__pycache__/y.tmp"]
    assert ground.state_directories(map(str, changed)) == ([], [])


def test_a_virtual_environment_is_an_installation_and_the_project_around_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\n")
    for inside in ("lib/python3.11/site-packages/x.py", "bin/tool", "pyvenv.cfg"):
        assert ground.is_installation(str(tmp_path / inside))
    for outside in ("notes.json", "data/notes.json", "data/lib/notes.json"):
        assert not ground.is_installation(str(tmp_path / outside))


def test_who_writes_below_opt_keeps_its_state_there() -> None:
    assert not ground.is_installation("/opt/pump/state/level.json")
    assert ground.is_installation("/usr/share/pump/defaults")


@pytest.fixture
def below_tmp() -> Iterator[Path]:
    """A directory that surely lies below /tmp."""
    made = Path(mkdtemp(dir="/tmp", prefix="ground-"))
    yield made
    shutil.rmtree(made)


def test_what_the_command_names_below_tmp_is_shown_whole(below_tmp: Path, tmp_path: Path) -> None:
    program(below_tmp / "tool")
    for command, cwd in (
        (("./tool",), below_tmp),
        ((str(below_tmp / "tool"),), Path("/")),
        (("cat", str(below_tmp / "deep/file")), Path("/")),
        (("tool", f"--config={below_tmp}/file"), Path("/")),
    ):
        env = {"PATH": f"{below_tmp}:/usr/bin"}
        target = ground.command(options(cwd, *command), env)
        made = ground.layout(options(cwd, *command), target, [], ())
        assert str(below_tmp) in made.overlays, command


def test_a_link_into_a_replaced_place_shows_both(below_tmp: Path) -> None:
    program(below_tmp / "tool")
    outer = Path(mkdtemp(dir="/tmp", prefix="ground-"))
    try:
        (outer / "link").symlink_to(below_tmp / "tool")
        target = ground.command(options(Path("/"), str(outer / "link")), {})
        assert {str(outer), str(below_tmp)} <= set(ground.layout(options(Path("/")), target, [], ()).overlays)
    finally:
        shutil.rmtree(outer)


def test_our_own_results_are_not_shown_inside(tmp_path: Path) -> None:
    target = ground.command(options(tmp_path), HOST)
    assert ground.layout(options(tmp_path), target, [str(tmp_path)], ()).omit == (str(tmp_path / ".blackstart"),)


def test_any_bytes_survive_in_arguments(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9 \xff")
    assert ground.command(options(tmp_path, "true", odd), HOST).argv == ("true", odd)


def test_a_lock_that_is_gone_again_makes_what_it_guards_one_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("data/base", "data/log", "other"):
        (tmp_path / name).mkdir(parents=True)

    def seen(path: str, flags: int) -> list[Operation]:
        return [Operation(index=0, call="openat", path=str(tmp_path / path), flags=flags)]

    inner, outer = [f"{tmp_path}/data/base", f"{tmp_path}/data/log"], [f"{tmp_path}/data"]
    exclusive = os.O_CREAT | os.O_EXCL
    assert ground.with_roots(inner, [f"{tmp_path}/data/new"], seen("data/pid", exclusive)) == (outer, [])
    assert ground.with_roots(inner, [], seen("data/pid", os.O_CREAT)) == (inner, [])
    assert ground.with_roots(inner, [], seen("other/pid", exclusive)) == (inner, [])
    (tmp_path / "data/many").mkdir()
    for number in range(3):
        (tmp_path / f"data/many/{number}").touch()
    monkeypatch.setattr(ground, "LIMIT_BYTES", 1024)
    assert ground.with_roots(inner, [], seen("data/pid", exclusive)) == (inner, [])
    monkeypatch.undo()
    (tmp_path / "data/pid").touch()
    assert ground.with_roots(inner, [], seen("data/pid", exclusive)) == (inner, [])
