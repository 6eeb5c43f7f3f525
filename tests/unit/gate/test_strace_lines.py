"""What strace writes, read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blackstart.gate.calls import DEFAULT
from blackstart.gate.strace_lines import Interpreter, lines, number, split, unquoted


def hexed(text: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text) + '"'


def read(*text: str, data_max: int = 100) -> list[tuple[object, ...]]:
    interpreter = Interpreter(
        cwd="/nowhere", mask=lambda p: p.replace("/nowhere", "$CWD"), wanted=DEFAULT, streams={"pipe:[7]": "stdout"},
        data_max=data_max,
    )  # fmt: skip
    return [(o.call, o.masked, o.nth, o.size, o.data) for o in interpreter.operations(lines(text))]


def fd(number: int, path: str) -> str:
    return f"{number}<{hexed(path.encode())[1:-1]}>"


def test_pieces_of_overtaken_calls_are_joined_where_they_began() -> None:
    assert read(
        f"10 write({fd(3, '/nowhere/a')}, {hexed(b'one')}, 3 <unfinished ...>",
        f"11 write({fd(4, '/nowhere/b')}, {hexed(b'x')}, 1) = 1",
        "10 <... write resumed>) = 3",
    ) == [("write", "$CWD/a", 1, 3, b"one"), ("write", "$CWD/b", 1, 1, b"x")]


def test_a_call_that_never_came_back_counts() -> None:
    assert read(f"10 fsync({fd(3, '/nowhere/a')} <unfinished ...>") == [("fsync", "$CWD/a", 1, -1, b"")]


def test_working_directories_are_followed_through_forks() -> None:
    assert [row[:2] for row in read(
        f"10 chdir({hexed(b'sub')}) = 0",
        "10 clone(child_stack=NULL, flags=0x11) = 11",
        f"11 mkdir({hexed(b'x')}, 0777) = 0",
        f"12 mkdir({hexed(b'y')}, 0777) = 0",
        f"10 chdir({hexed(b'none')}) = -1 ENOENT (No such file or directory)",
        f"10 rename({hexed(b'a')}, {hexed(b'/b')}) = 0",
    ) if row[0] != "chdir"] == [("mkdir", "$CWD/sub/x"), ("mkdir", "$CWD/y"), ("rename", "$CWD/sub/a")]  # fmt: skip


def test_streams_deleted_files_and_sockets() -> None:
    found = read(
        f"10 write({fd(1, 'pipe:[7]')}, {hexed(b'a')}, 1) = 1",
        f"10 write({fd(5, '/nowhere/gone')}(deleted), {hexed(b'a')}, 1) = 1",
        f"10 connect({fd(6, 'socket:[9]')}, {{sa_family=0x2, sin_port={hexed(bytes((0, 80)))}, "
        f"sin_addr={hexed(bytes((1, 2, 3, 4)))}}}, 16) = 0",
        f"10 sendto({fd(6, 'socket:[9]')}, {hexed(b'hey')}, 3, 0, NULL, 0) = 3",
    )
    assert [row[1] for row in found] == [
        "stdout", "$CWD/gone (deleted)", "socket:inet:1.2.3.4:80", "socket:inet:1.2.3.4:80"
    ]  # fmt: skip


@given(st.binary(max_size=50))
def test_any_bytes_of_a_name_come_through(raw: bytes) -> None:
    assert unquoted(hexed(raw)) == raw


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_arguments_are_cut_where_they_end(parts: list[bytes]) -> None:
    text = ", ".join([*map(hexed, parts), "{a=1, b=[2, 3]}", "0x10|0x20"])
    arguments, rest = split(text + ") = 0")
    assert arguments == [*map(hexed, parts), "{a=1, b=[2, 3]}", "0x10|0x20"] and rest == "= 0"


def test_numbers() -> None:
    assert [number(text) for text in ("0x1f", "0777", "0", "42", "-1", "-100<x>", "NULL", "")] == [
        31, 511, 0, 42, -1, -100, -1, -1
    ]  # fmt: skip


@given(st.text(max_size=200))
def test_lines_of_any_text_are_no_error(text: str) -> None:
    read(text, f"10 write({text}", f"10 openat({text}) = 3")
