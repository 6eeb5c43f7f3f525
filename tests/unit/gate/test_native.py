"""What a debugger prints becomes the program's own frames."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from blackstart.gate import native
from blackstart.gate.native import frames_of

PRINTED = """TID 22743:
#0  0x00007f0522e5ddd0 fsync - /usr/lib/x86_64-linux-gnu/libc.so.6
    ../sysdeps/unix/sysv/linux/fsync.c:29:10
#1  0x0000564565f5a142 save.constprop.0 - /w/my notes
    /w/notes.c:4:25
#2  0x0000564565f5a14e main - /w/my notes
#3  0x00007f0522db1305 __libc_start_main@@GLIBC_2.34 - /usr/lib/x86_64-linux-gnu/libc.so.6
    ../csu/libc-start.c:360:3
#4  0x0000564565f5a071 _start - /w/my notes
"""
GO = """TID 7:
#0  0x000000000048 syscall.Syscall - /w/book
    /usr/lib/go/src/syscall/syscall_linux.go:68
#1  0x000000000049 os.(*File).Sync - /w/book
    /usr/lib/go/src/os/file_posix.go:160
#2  0x00000000004a main.save - /w/book
    /w/book.go:41
#3  0x00000000004b runtime.main - /w/book
    /usr/lib/go/src/runtime/proc.go:250
"""


def test_frames_without_those_of_the_c_library_and_the_runtime() -> None:
    assert frames_of(PRINTED) == ("/w/notes.c:save:4", "/w/my notes:main:0")
    assert frames_of(GO) == ("/w/book.go:main.save:41",)


def test_a_name_of_cpp_and_the_runtime_of_javascript() -> None:
    printed = """TID 3:
#0  0x0000000000000010 node::fs::Open(v8::FunctionCallbackInfo<v8::Value> const&) - /usr/bin/node
#1  0x0000000000000014 Builtins_InterpreterEntryTrampoline - /usr/bin/node
#1  0x0000000000000020 TF2::commit() - /usr/bin/task
    /w/tdb2.cpp:77:3
"""
    assert frames_of(printed) == ("/w/tdb2.cpp:TF2::commit():77",)
    pool = "TID 3:\n#0  0x0000000000000010 worker - /usr/bin/node\n    ../deps/uv/src/threadpool.c:122:5\n"
    assert frames_of(pool) == ()


def test_lines_that_the_debugger_does_not_know_are_asked_for() -> None:
    found = frames_of(PRINTED, lambda module, address: "/w/notes.c:9" if address == 0x564565F5A14E else "")
    assert found == ("/w/notes.c:save:4", "/w/notes.c:main:9")


def test_what_is_no_stack_gives_none() -> None:
    assert frames_of("") == () == frames_of("eu-stack: dwfl_thread_getframes tid 7: no matching address range\n")


def test_frames_without_those_of_the_standard_library_of_rust() -> None:
    printed = """TID 3:
#0  0x0000000000000010 __write - /usr/lib/x86_64-linux-gnu/libc.so.6
#1  0x0000000000000020 _RNvXsb_NtCsjrHSEGnQ3l9_3std2fsNtB5_4FileNtNtB7_2io5Write5write - /w/ledger
    library/std/src/sys/fd/unix.rs:346:9
#2  0x0000000000000030 std::io::Write::write_all::h31290c7e007cbeac - /w/ledger
    /rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/io/mod.rs:1877:19
#3  0x0000000000000040 ledger::append::hd75a891ce4f7ce5e - /w/ledger
    /w/ledger.rs:24:5
#4  0x0000000000000050 core::ops::function::FnOnce::call_once::h7f3da2be11aa2c30 - /w/ledger
#5  0x0000000000000060 main - /w/ledger
"""
    assert frames_of(printed) == ("/w/ledger.rs:ledger::append:24", "/w/ledger:main:0")


def test_the_line_is_that_of_the_function_that_others_were_put_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = tmp_path / "addr2line"  # as binutils print an inlined call: the innermost first, all of them only with -i
    finder.write_text("#!/bin/sh\necho /go/src/os/file.go:355\n[ $1 = -i ] && echo '/w/book.go:14 (discriminator 2)'\n")
    finder.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(native, "functions", lambda path: SimpleNamespace(is_fixed=True))
    assert native._line_of("/w/book", 0x4A) == "/w/book.go:14"
