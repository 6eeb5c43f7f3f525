"""Line tables, symbols and stacks: from real files, and from files that were made up to hurt."""

from __future__ import annotations

import ctypes
import dis
import os
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.gate import calls, cpython, elf, native
from blackstart.gate.callsite import Sites, is_installation
from blackstart.gate.cpython import line_of
from blackstart.gate.tasks import Process, Tasks


def codes(code: types.CodeType) -> list[types.CodeType]:
    return [code, *(c for inner in code.co_consts if isinstance(inner, types.CodeType) for c in codes(inner))]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="another line table")
@pytest.mark.parametrize("module", [dis, calls, cpython])
def test_lines_of_instructions_are_those_of_the_interpreter(module: types.ModuleType) -> None:
    assert module.__file__
    whole = compile(Path(module.__file__).read_text(), module.__file__, "exec")
    for code in codes(whole):
        for start, end, line in code.co_lines():
            for instruction in range(start // 2, end // 2):
                if line is not None:
                    found = line_of(code.co_linetable, code.co_firstlineno, instruction)
                    assert found == line, (code.co_qualname, instruction)


@given(st.binary(max_size=200), st.integers(-5, 500))
def test_a_made_up_line_table_gives_a_number_or_is_refused(table: bytes, instruction: int) -> None:
    try:
        assert isinstance(line_of(table, 7, instruction), int)
    except IndexError:
        pass


@given(st.integers(0, 2**63), st.sampled_from(sorted(cpython.LAYOUTS)))
def test_a_made_up_interpreter_gives_no_frames(address: int, version: tuple[int, int]) -> None:
    interpreter = cpython.Interpreter(Tasks().thread(os.getpid()).process, address, cpython.LAYOUTS[version])
    assert interpreter.frames(os.getpid()) == []


def test_a_chain_that_bites_its_tail_ends() -> None:
    layout = cpython.LAYOUTS[(3, 12)]
    state = ctypes.create_string_buffer(8192)
    base = ctypes.addressof(state)

    def put(at: int, value: int) -> None:
        state[at : at + 8] = value.to_bytes(8, "little")

    put(layout.interpreters, base + 100)
    put(100 + layout.threads, base + 400)
    put(400 + layout.thread_id, os.getpid())
    put(400 + layout.frame, base + 1000)
    put(1000 + layout.cframe, base + 2000)
    put(2000 + layout.previous, base + 2000)
    put(2000 + layout.code, base + 3000)
    interpreter = cpython.Interpreter(Tasks().thread(os.getpid()).process, base, layout)
    assert len(interpreter.frames(os.getpid())) <= cpython.DEPTH_MAX


def test_symbols_of_the_c_library() -> None:
    library = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libc.so" in line)
    found = elf.symbols(library, [b"fsync", b"no_such_symbol"])
    assert set(found.addresses) == {b"fsync"} and not found.is_fixed
    named = elf.functions(library)
    assert named.at(found.addresses[b"fsync"]) in ("fsync", "__fsync", "__libc_fsync")
    assert named.at(0) == "" and named.at(2**63) == ""


@given(st.binary(max_size=400), st.booleans())
def test_made_up_files_have_no_symbols(junk: bytes, with_magic: bool) -> None:
    path = f"/tmp/blackstart-elf-{os.getpid()}"
    Path(path).write_bytes((b"\x7fELF\x02\x01" if with_magic else b"") + junk)
    try:
        assert elf.symbols(path, [b"x"]).addresses == {}
        assert elf.functions(path).names == []
    finally:
        os.unlink(path)


def test_missing_files_and_pipes_have_no_symbols(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "none", tmp_path / "fifo", tmp_path):
        assert elf.symbols(str(path), [b"x"]).addresses == {}
        assert elf.functions(str(path)).names == []


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("/usr/lib/python3.11/json/__init__.py", False),
        ("/opt/x/lib/python3.12/threading.py", False),
        ("<frozen importlib._bootstrap>", False),
        ("/usr/lib/python3.11/site-packages/app/db.py", True),
        ("/usr/lib/python3/dist-packages/app.py", True),
        ("/usr/lib/python3.11/dist-packages/app.py", True),
        ("$CWD/app.py", True),
        ("<string>", True),
    ],
)
def test_what_belongs_to_the_interpreter(file: str, own: bool) -> None:
    assert is_installation(file) is not own


def test_frames_of_this_very_process() -> None:
    layout = cpython.LAYOUTS.get(sys.version_info[:2])
    if layout is None:
        pytest.skip("no table for this version of the interpreter")
    frames = Sites().frames(Tasks().thread(os.getpid()))
    assert any(":test_frames_of_this_very_process:" in frame for frame in frames), frames


def test_an_interpreter_is_looked_for_ever_more_seldom() -> None:
    process = Process(1, 1)
    looks = [number for number in range(1, 100) if process.is_worth_a_look()]
    assert looks[0] == 1 and 5 <= len(looks) <= 8


def test_stacks_of_nobody() -> None:
    assert native.stack_of(2**22 + 1) == ()
