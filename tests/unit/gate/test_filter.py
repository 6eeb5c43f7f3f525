"""The filter, run by a small BPF machine: what stops, what passes, what is refused."""

from __future__ import annotations

import errno
import struct

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.gate import calls, filter

ALLOW, NOTIFY, ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003


def run(program: bytes, number: int, arguments: tuple[int, ...] = (), architecture: int = X86_64) -> int:
    """What the kernel would decide."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    for _ in range(10_000):
        code, yes, no, value = instructions[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return value
        else:
            test = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += yes if test else no
    raise AssertionError("the program does not end")


def test_named_calls_stop_and_others_pass() -> None:
    program = filter.compile({"write", "openat"}, machine="x86_64")
    assert run(program, 1) == NOTIFY
    assert run(program, 257) == NOTIFY
    assert run(program, 0) == ALLOW
    assert run(program, 39) == ALLOW


def test_every_known_call_can_be_gated_on_both_machines() -> None:
    for machine, architecture in (("x86_64", X86_64), ("aarch64", AARCH64)):
        program = filter.compile(set(calls.CALLS), machine=machine)
        assert len(program) // 8 < 4096
        for number, call in calls.numbers(set(calls.CALLS), machine).items():
            if call.name not in ("mmap", "fcntl", "sendmsg", "futex"):
                assert run(program, number, architecture=architecture) == NOTIFY, call.name


def test_rings_always_stop() -> None:
    assert run(filter.compile(set(), machine="x86_64"), 425) == NOTIFY


@pytest.mark.parametrize("number", [0, 1, 39, 425])
def test_calls_of_another_instruction_set_never_pass_unseen(number: int) -> None:
    program = filter.compile({"write"}, machine="x86_64")
    assert run(program, number, architecture=I386) == NOTIFY
    assert run(program, number | 0x40000000) == NOTIFY
    refusing = filter.compile({"write"}, machine="x86_64", foreign="refuse")
    assert run(refusing, number, architecture=I386) == ERRNO | errno.ENOSYS
    assert run(refusing, number | 0x40000000) == ERRNO | errno.ENOSYS


def test_only_shared_writable_mappings_of_files_stop() -> None:
    program = filter.compile({"mmap"}, machine="x86_64")
    read, write, shared, validated, private, anonymous = 1, 2, 1, 3, 2, 0x20
    assert run(program, 9, (0, 4096, read | write, shared)) == NOTIFY
    assert run(program, 9, (0, 4096, read | write, validated)) == NOTIFY
    assert run(program, 9, (0, 4096, read, shared)) == ALLOW
    assert run(program, 9, (0, 4096, read | write, private)) == ALLOW
    assert run(program, 9, (0, 4096, read | write, shared | anonymous)) == ALLOW


def test_every_mapping_stops_where_memory_is_counted() -> None:
    assert run(filter.compile({"mmap"}, machine="x86_64", whole={"mmap"}), 9, (0, 4096, 1, 0x22)) == NOTIFY


@pytest.mark.parametrize(("clock", "decision"), [(0, NOTIFY), (5, NOTIFY), (11, NOTIFY), (1, ALLOW), (7, ALLOW)])
def test_only_readings_of_the_wall_clock_stop(clock: int, decision: int) -> None:
    assert run(filter.compile({"clock_gettime"}, machine="x86_64"), 228, (clock,)) == decision


@pytest.mark.parametrize(("operation", "decision"), [(9, ALLOW), (9 | 128, ALLOW), (9 | 128 | 256, NOTIFY)])
def test_only_waits_until_a_time_of_the_wall_clock_stop(operation: int, decision: int) -> None:
    assert run(filter.compile({"futex"}, machine="x86_64"), 202, (0, operation)) == decision


@pytest.mark.parametrize(("command", "decision"), [(6, NOTIFY), (7, NOTIFY), (37, NOTIFY), (38, NOTIFY), (1, ALLOW)])
def test_only_locks_of_fcntl_stop(command: int, decision: int) -> None:
    assert run(filter.compile({"fcntl"}, machine="x86_64"), 72, (3, command)) == decision


def test_the_listener_can_be_handed_over() -> None:
    program = filter.compile({"sendmsg"}, machine="x86_64")
    assert run(program, 46, (filter.CONTROL_DESCRIPTOR,)) == ALLOW
    assert run(program, 46, (3,)) == NOTIFY


def test_refused_calls_are_answered_by_the_kernel() -> None:
    program = filter.compile({"chmod", "write"}, refuse={"chmod": "EPERM"}, machine="x86_64")
    assert run(program, 90) == ERRNO | errno.EPERM
    assert run(program, 1) == NOTIFY


def test_mistakes_are_told() -> None:
    with pytest.raises(BlackstartError, match="no system call"):
        filter.compile({"wriet"}, machine="x86_64")
    with pytest.raises(BlackstartError, match="no errno"):
        filter.compile({"write"}, refuse={"chmod": "ENOTHING"}, machine="x86_64")
