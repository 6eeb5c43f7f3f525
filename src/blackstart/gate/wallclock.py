"""A wall clock of the target's own, which can jump while it runs.

Programs read the time without a system call: the kernel maps a small library (the vDSO) into each of them that does it.
In each new program its clock functions are led, before they are first used, to the plain system call instead, which
stops at the gate like any other; the gate then answers with its own time. So this works for static programs and for
those that bring their own run time, and it leaves the monotonic clock, sleeps and timeouts alone, as setting the clock
of a real machine does. Not moved: the times of files, which are the kernel's, and waits *until* a time of the wall
clock; whoever makes such a wait after a jump is told by `waits`, since its deadline would be wrong by the jump.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from collections.abc import Mapping
from functools import cache

from blackstart.gate import calls as tables
from blackstart.gate.elf import symbols
from blackstart.gate.operations import Event
from blackstart.gate.tasks import Process

# What must stop at the gate so that every program is met before it first reads the time; and the readings themselves.
FIRST_CALLS = frozenset(("set_tid_address", "open", "openat", "execve", "execveat"))
_WAITS = frozenset(("futex", "clock_nanosleep"))
CLOCKED = tables.CLOCK_READS | _WAITS
GATED = FIRST_CALLS | CLOCKED
_ABSOLUTE = 1
_VDSO_MAX = 1 << 20
_STUB_BYTES = 16
# Before a jump; a program that reads the time in its innermost loop would take minutes for what takes it a second.
READS_MAX = 50_000
_FIRST, _SECOND, _TIMEOUT = 6, 7, 9  # where a notification has the first arguments
# The functions of the vDSO by the call that each stands for.
_FUNCTIONS = {
    "x86_64": {
        b"__vdso_clock_gettime": "clock_gettime",
        b"__vdso_gettimeofday": "gettimeofday",
        b"__vdso_time": "time",
    },
    "aarch64": {b"__kernel_clock_gettime": "clock_gettime", b"__kernel_gettimeofday": "gettimeofday"},
}


class WallClock:
    """offset_s: how far the target's wall clock is ahead; reads: how often it was read since `count` or a jump, waits:
    how often somebody waited until a time of the true clock since then; trouble: why it cannot be moved, "" if it can.
    """

    def __init__(self, *, counts: bool = False) -> None:
        """counts: from the very start."""
        self.offset_s = 0.0
        self.reads = 0
        self.waits = 0
        self.trouble = ""
        self._met: set[int] = set()
        self._answers = 0
        self._jumped = False
        self._counts = counts

    def jump(self, seconds: float) -> None:
        """Set it ahead, or back."""
        self.offset_s += seconds
        self._jumped = True
        self.count()

    def count(self) -> None:
        """Count readings and waits from now on."""
        self._counts = True

    def follow(self, process: Process, *, is_replaced: bool) -> None:
        """A process makes a call; if it is a new program, its readings of the time come to the gate from now on."""
        if is_replaced:
            self._met.discard(process.pid)
        elif process.pid not in self._met and not self.trouble:
            self._met.add(process.pid)
            try:
                _patch(process.task)
            except OSError as error:
                self.trouble = f"the target's clock functions cannot be replaced: {error.strerror or error}"

    def _release(self, process: Process) -> None:
        """Let it read the machine's own clock again."""
        self.trouble = "the time is read too often for the gate to answer"
        with contextlib.suppress(OSError):
            _patch(process.task, undo=True)

    def answer(self, call: str, process: Process, event: Event) -> tuple[int, int] | None:
        """(result, negative errno) of a reading; None for a wait, which goes on."""
        if call in _WAITS:
            if call == "futex":
                is_until = event[_TIMEOUT] != 0  # without one it waits for ever, whatever the clock
            else:
                is_until = event[_FIRST] == 0 and event[_SECOND] & _ABSOLUTE != 0
            self.waits += self._counts and is_until
            return None
        self.reads += self._counts
        self._answers += 1
        if self._answers > READS_MAX and not self._jumped:
            self._release(process)
        now_ns = time.clock_gettime_ns(event[_FIRST] if call == "clock_gettime" else time.CLOCK_REALTIME)
        seconds, rest_ns = divmod(now_ns + round(self.offset_s * 1e9), 10**9)
        place = event[_SECOND] if call == "clock_gettime" else event[_FIRST]
        if call == "time":
            text = struct.pack("=q", seconds) if place else b""
        else:
            text = struct.pack("=qq", seconds, rest_ns if call == "clock_gettime" else rest_ns // 1000)
        if text and place and not _write(process.task, place, text):
            return 0, -errno.EFAULT
        return (seconds if call == "time" else 0), 0


def _write(task: int, address: int, text: bytes) -> bool:
    try:
        memory = os.open(f"/proc/{task}/mem", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.pwrite(memory, text, address) == len(text)
    except (OSError, OverflowError):
        return False
    finally:
        os.close(memory)


def _patch(task: int, *, undo: bool = False) -> None:
    """Lead the clock functions of this task's vDSO to code of ours, or no more; OSError where that is refused.

    Only their first instruction is changed, so that it can be put back while a thread is in the code that it leads to.
    """
    place = _vdso(task)
    if place is None:
        return
    for offset, (code, original) in _changes().items():
        if undo and not any(original):
            continue  # a thread may be in it; nothing leads there any more
        if not _write(task, place[0] + offset, original if undo else code):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _vdso(task: int | str) -> tuple[int, int] | None:
    """(begin, end) of the vDSO in a task."""
    try:
        with open(f"/proc/{task}/maps") as maps:
            line = next((line for line in maps if line.rstrip().endswith("[vdso]")), "")
    except OSError:
        return None
    begin, _, end = line.partition(" ")[0].partition("-")
    return (int(begin, 16), int(end, 16)) if line else None


@cache
def _changes() -> dict[int, tuple[bytes, bytes]]:
    """Offset in the vDSO -> (new bytes, old bytes); read from our own, the same in every program of this kernel."""
    machine, own = tables.machine(), _vdso("self")
    if own is None:
        return {}
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(own[0])
        image = memory.read(min(own[1] - own[0], _VDSO_MAX))
    copy = os.memfd_create("vdso", os.MFD_CLOEXEC)
    try:
        os.write(copy, image)
        found = symbols(f"/proc/self/fd/{copy}", _FUNCTIONS[machine]).addresses
    finally:
        os.close(copy)
    numbers = {at: tables.CALLS[_FUNCTIONS[machine][name]].number(machine) for name, at in found.items()}
    return changes(image, numbers, machine)


def changes(image: bytes, numbers: Mapping[int, int], machine: str) -> dict[int, tuple[bytes, bytes]]:
    """What to change in a library so that the functions at these offsets make these system calls: the code for that
    goes into the unused end of its last page, and each function begins with a jump there. OSError without such room.
    """
    free = (len(image.rstrip(b"\0")) + 2 * _STUB_BYTES) // _STUB_BYTES * _STUB_BYTES
    if free + _STUB_BYTES * len(numbers) > len(image):
        raise OSError(errno.ENOSPC, "there is no room for them")
    made = {}
    for at, number in numbers.items():
        code = system_call(number, machine)
        made[free] = code, bytes(len(code))
        jump = _jump(free - at, machine)
        made[at] = jump, image[at : at + len(jump)]
        free += _STUB_BYTES
    return made


def _jump(distance: int, machine: str) -> bytes:
    if machine == "x86_64":
        return b"\xe9" + struct.pack("<i", distance - 5)  # jmp, counted from its own end
    return struct.pack("<I", 0x14000000 | distance // 4 & 0x3FFFFFF)  # b


def system_call(number: int, machine: str) -> bytes:
    """Machine code of a function that makes this system call with its own arguments."""
    if machine == "x86_64":
        return b"\xb8" + struct.pack("<I", number) + b"\x0f\x05\xc3"  # mov eax, number; syscall; ret
    return struct.pack("<III", 0xD2800008 | number << 5, 0xD4000001, 0xD65F03C0)  # mov x8, number; svc 0; ret
