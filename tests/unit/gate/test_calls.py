"""The tables of system calls agree with the headers of this machine and with themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.gate import calls
from blackstart.gate.calls import CALLS, numbers

GENERIC = Path("/usr/include/asm-generic/unistd.h")
X86_64 = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


def defined(path: Path) -> dict[str, int]:
    text = path.read_text()
    found = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", text)}
    # The 64-bit names of the generic table that stand under a common name.
    return found | {"newfstatat": found.get("fstatat", found.get("newfstatat", -1))}


@pytest.mark.skipif(not X86_64.exists(), reason="needs linux-libc-dev for x86_64 (not installed)")
def test_numbers_on_x86_64_are_those_of_the_header() -> None:
    header = defined(X86_64)
    for name, call in CALLS.items():
        assert call.x86_64 == header.get(name, call.x86_64), name
    # fchmodat2 is younger than the headers of Debian 12.
    assert set(CALLS) - set(header) <= {"fchmodat2"}


@pytest.mark.skipif(not GENERIC.exists(), reason="needs linux-libc-dev (not installed)")
def test_numbers_on_arm64_are_those_of_the_generic_header() -> None:
    header = defined(GENERIC)
    for name, call in CALLS.items():
        if call.aarch64 >= 0:
            assert call.aarch64 == header.get(name, call.aarch64), name
    # rename stands in the generic header, but arm64 does not have renameat by its old name only.
    absent = {name for name, call in CALLS.items() if call.aarch64 < 0}
    assert absent == set(
        "open creat dup2 rename link symlink unlink rmdir mkdir mknod chmod chown lchown utime utimes futimesat "
        "stat lstat access readlink getdents fork vfork time".split()
    )


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("openat", 56), ("close", 57), ("read", 63), ("write", 64), ("pwrite64", 68), ("fsync", 82), ("fdatasync", 83),
        ("renameat", 38), ("renameat2", 276), ("unlinkat", 35), ("mkdirat", 34), ("linkat", 37), ("ftruncate", 46),
        ("connect", 203), ("execve", 221), ("io_uring_setup", 425), ("mmap", 222),
    ],
)  # fmt: skip
def test_well_known_numbers_on_arm64(name: str, number: int) -> None:
    assert CALLS[name].number("aarch64") == number


def test_no_two_calls_share_a_number() -> None:
    for machine in calls.MACHINES:
        found = [call.number(machine) for call in CALLS.values() if call.number(machine) >= 0]
        assert len(found) == len(set(found))


def test_calls_that_a_machine_lacks_are_left_out() -> None:
    assert set(numbers({"open", "openat"}, "aarch64")) == {56}


def test_an_unknown_call_names_the_nearest() -> None:
    with pytest.raises(BlackstartError, match="no system call") as caught:
        calls.known("pwrite")
    assert "did you mean" in caught.value.next_step


def test_patterns_of_calls_expand() -> None:
    assert calls.expand("write|pwrite64") == {"write", "pwrite64"}
    assert {"write", "openat", "mkdir"} <= calls.expand("growing")
    assert "renameat2" not in calls.expand("growing")
    assert calls.expand("*") == set(CALLS)
    with pytest.raises(BlackstartError):
        calls.expand("write|nonsense")


def test_the_closure_of_socket_calls_knows_their_names() -> None:
    assert calls.closure(frozenset({"sendto"})) == {"sendto", "connect", "bind"}
    assert calls.closure(frozenset({"fsync"})) == {"fsync"}


def test_bookkeeping_is_part_of_the_default() -> None:
    assert calls.BOOKKEEPING <= calls.DEFAULT
