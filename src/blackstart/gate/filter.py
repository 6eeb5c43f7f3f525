"""The seccomp filter: which calls stop at the gate. Compiled to classic BPF, loaded by whoever starts the target.

What is not named passes at full speed: the kernel runs the filter once per call number when it is loaded and keeps
the answer for those that are always allowed. Only those of `_SPECIAL` are decided by their arguments.
Calls of another instruction set (32-bit, x32) have other numbers: all of them stop at the gate, which lets them go on
and reports the program as not covered, or they are refused with ENOSYS. They never pass unseen.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping

from blackstart.gate import calls as tables

# The launcher hands the listener over by sendmsg on this descriptor, which therefore passes without a stop.
CONTROL_DESCRIPTOR = 1021

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_GREATER_EQUAL, _IF_SET = 0x15, 0x35, 0x45
_ALLOW, _NOTIFY, _ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000
_NUMBER, _ARCHITECTURE = 0, 4
_MAP_SHARED, _MAP_ANONYMOUS, _PROT_WRITE = 0x01, 0x20, 0x02
# F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW: the commands of fcntl that concern others.
LOCK_COMMANDS = (6, 7, 37, 38)
# CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI: the clocks that an operator, or NTP, sets.
WALL_CLOCKS = (0, 5, 11)
_FUTEX_CLOCK_REALTIME = 256
# How far a conditional jump can go, in instructions.
_JUMP_MAX = 255

_Instruction = tuple[int, int, int, int]


def _argument(index: int) -> int:
    """Where the low half of an argument is (both machines are little endian)."""
    return 16 + 8 * index


def compile(
    calls: Collection[str],
    *,
    refuse: Mapping[str, str] | None = None,
    foreign: str = "report",
    machine: str = "",
    whole: Collection[str] = (),
) -> bytes:
    """The program (an array of struct sock_filter) that stops `calls` at the gate.

    refuse: call -> errno name; the kernel answers these by itself, always, and the gate never sees them.
    foreign: what happens to calls of another instruction set, `report` or `refuse`.
    whole: calls that stop whatever their arguments are, where usually these decide.
    io_uring_setup always stops: the supervisor answers ENOSYS, since what goes through a ring cannot be seen.
    """
    assert foreign in ("report", "refuse"), foreign
    machine = machine or tables.machine()
    refused = {tables.known(name): tables.errno_number(error) for name, error in (refuse or {}).items()}
    wanted = tables.numbers({*calls, "io_uring_setup"} - {call.name for call in refused}, machine)
    other = _NOTIFY if foreign == "report" else _ERRNO | tables.errno_number("ENOSYS")
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, other),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        program += [(_IF_GREATER_EQUAL, 0, 1, X32_BIT), (_RETURN, 0, 0, other)]
    for call, error in refused.items():
        if call.number(machine) >= 0:
            program += [(_IF_EQUAL, 0, 1, call.number(machine)), (_RETURN, 0, 0, _ERRNO | error)]
    bodies = {
        number: _SPECIAL.get(call.name, _STOP) if call.name not in whole else _STOP
        for number, call in sorted(wanted.items())
    }
    program += _halving(list(bodies.items()))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _halving(bodies: list[tuple[int, list[_Instruction]]]) -> list[_Instruction]:
    """Find the body of a number by halves: the kernel goes through the program for each number that there is when it is
    loaded, and for each call that stops.
    """
    if len(bodies) <= 2:
        found = [step for number, body in bodies for step in ((_IF_EQUAL, 0, len(body), number), *body)]
        return [*found, (_RETURN, 0, 0, _ALLOW)]
    middle = len(bodies) // 2
    lower, upper = _halving(bodies[:middle]), _halving(bodies[middle:])
    assert len(lower) <= _JUMP_MAX, "too many calls for one jump"
    return [(_IF_GREATER_EQUAL, len(lower), 0, bodies[middle][0]), *lower, *upper]


_STOP: list[_Instruction] = [(_RETURN, 0, 0, _NOTIFY)]
# Each body ends in a return on every way through it.
_SPECIAL: dict[str, list[_Instruction]] = {
    # Only a shared, writable mapping of a file: its writes never pass the gate.
    "mmap": [
        (_LOAD, 0, 0, _argument(3)),
        (_IF_SET, 4, 0, _MAP_ANONYMOUS),
        (_IF_SET, 0, 3, _MAP_SHARED),
        (_LOAD, 0, 0, _argument(2)),
        (_IF_SET, 0, 1, _PROT_WRITE),
        (_RETURN, 0, 0, _NOTIFY),
        (_RETURN, 0, 0, _ALLOW),
    ],
    "fcntl": [
        (_LOAD, 0, 0, _argument(1)),
        *((_IF_EQUAL, len(LOCK_COMMANDS) - place, 0, command) for place, command in enumerate(LOCK_COMMANDS)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _NOTIFY),
    ],
    "clock_gettime": [
        (_LOAD, 0, 0, _argument(0)),
        *((_IF_EQUAL, len(WALL_CLOCKS) - place, 0, clock) for place, clock in enumerate(WALL_CLOCKS)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _NOTIFY),
    ],
    # Only a wait until a time of the wall clock.
    "futex": [
        (_LOAD, 0, 0, _argument(1)),
        (_IF_SET, 0, 1, _FUTEX_CLOCK_REALTIME),
        (_RETURN, 0, 0, _NOTIFY),
        (_RETURN, 0, 0, _ALLOW),
    ],
    "sendmsg": [
        (_LOAD, 0, 0, _argument(0)),
        (_IF_EQUAL, 1, 0, CONTROL_DESCRIPTOR),
        (_RETURN, 0, 0, _NOTIFY),
        (_RETURN, 0, 0, _ALLOW),
    ],
}
