"""The filter of the fallback does what its table says, by an interpreter of the few instructions that it uses."""

from __future__ import annotations

import errno
import platform
import re
import struct
from pathlib import Path

import pytest

from blackstart.sandbox import refusals

ALLOWED = 0x7FFF0000
X86, ARM = 0xC000003E, 0xC00000B7
NATIVE = ARM if platform.machine() in ("aarch64", "arm64") else X86


def run(number: int, *arguments: int, architecture: int = NATIVE) -> int:
    """What the filter answers: 0 for allowed, else the errno."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(list(arguments) + [0] * (6 - len(arguments))))
    code = list(struct.iter_unpack("=HBBI", refusals.compile_refusals()))
    place = accumulator = 0
    while True:
        kind, if_true, if_false, value = code[place]
        place += 1
        if kind == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif kind == 0x54:
            accumulator &= value
        elif kind == 0x15:
            place += if_true if accumulator == value else if_false
        elif kind == 0x35:
            place += if_true if accumulator >= value else if_false
        else:
            assert kind == 0x06
            return 0 if value == ALLOWED else value & 0xFFFF


def call(name: str, *arguments: int) -> int:
    return run(refusals._number(name), *arguments)


@pytest.mark.parametrize("name", refusals._NOT_PERMITTED)
def test_a_call_that_needs_a_path_to_judge_is_refused_whatever_its_arguments(name: str) -> None:
    if refusals._number(name) >= 0:
        assert call(name) == errno.EPERM


def test_only_sockets_that_can_reach_nobody_are_made() -> None:
    assert call("socket", 1, 1) == 0
    assert call("socket", 1, 5 | 0o2000000) == 0
    assert call("socket", 1, 2) == errno.EACCES
    assert call("socket", 2, 1) == errno.EACCES
    assert call("socket", 10, 2 | 0o4000) == errno.EACCES
    assert call("socketpair", 1, 1) == 0
    assert call("socketpair", 1, 2) == errno.EACCES
    assert call("socketpair", 1, 3) == errno.EACCES
    assert call("connect", 3) == errno.EACCES


def test_what_a_program_does_to_itself_is_allowed() -> None:
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setattr"):
        assert call(name, 0) == 0
        assert call(name, 4711) == errno.EPERM
    assert call("setpriority", 0, 0) == 0
    assert call("setpriority", 2, 0) == errno.EPERM
    assert call("ioprio_set", 1, 0) == 0
    assert call("ioprio_set", 1, 5) == errno.EPERM


def test_processes_may_be_made_but_no_namespaces() -> None:
    fork = 0x1200000 | 17
    threads = 0x3D0F00
    assert call("clone", fork) == 0
    assert call("clone", threads) == 0
    for flag in (0x20000, 0x10000000, 0x40000000):
        assert call("clone", fork | flag) == errno.EPERM
        assert call("unshare", flag) == errno.EPERM
    assert call("unshare", 0x400) == 0
    assert call("clone3") == errno.ENOSYS


def test_terminals_and_attributes_are_safe_from_ioctl() -> None:
    assert call("ioctl", 0, 0x5401) == 0
    for request in (0x5412, 0x541C, 0x40086602, 0x401C5820):
        assert call("ioctl", 0, request) == errno.EPERM
    assert call("fcntl", 3, 1024) == errno.EPERM
    assert call("fcntl", 3, 1) == 0


def test_ordinary_calls_are_allowed_and_foreign_numbers_unknown() -> None:
    read, openat = (63, 56) if NATIVE == ARM else (0, 257)
    assert run(read) == 0
    assert run(openat) == 0
    assert run(openat, architecture=X86 if NATIVE == ARM else ARM) == errno.ENOSYS
    if NATIVE == X86:
        assert run(0x40000000 | openat) == errno.ENOSYS


@pytest.mark.parametrize(
    ("column", "header"),
    [(0, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), (1, "/usr/include/asm-generic/unistd.h")],
)
def test_the_numbers_are_those_of_the_kernel(column: int, header: str) -> None:
    path = Path(header)
    if not path.exists():
        pytest.skip(f"needs {('x86-64', 'kernel')[column]} headers (not installed)")
    known = {m[1]: int(m[2]) for m in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())}
    for name, numbers in refusals._NUMBERS.items():
        if name in known:
            assert numbers[column] == known[name], name
