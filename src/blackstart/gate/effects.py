"""What the gate carries out itself: a short write, and the look whether a call is over.

A short write is done through the target's own open file description (pidfd_getfd), so that its position, O_APPEND and
its locks are right; where that is forbidden, through a re-opened description, and then only at an explicit offset or
with O_APPEND. Only regular files: a pipe or a socket could block, and the supervisor must not. The paths of the target
are never followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from blackstart.core.trace import FILE, Operation
from blackstart.gate import notify
from blackstart.gate.calls import Call
from blackstart.gate.operations import Event, gather, vector
from blackstart.gate.tasks import Thread

SHORT_MAX = 1 << 24


class NotCarriedOut(Exception):
    """The gate could not do this call in the target's place; the text says why. The call then goes on untouched."""


class CallerGone(Exception):
    """The caller died, or a signal took it away; in that case its call comes again."""


def short_write(
    call: Call, thread: Thread, operation: Operation, event: Event, wanted: int, is_waiting: Callable[[], bool]
) -> int:
    """Write the first `wanted` bytes of this write where the target would have; the number written, or OSError.

    is_waiting: whether the caller still waits. Asked last: only then does what was read and borrowed belong to it.
    """
    if operation.kind != FILE:
        raise NotCarriedOut(f"a short write is carried out on regular files only, not on a {operation.kind}")
    if call.name == "pwritev2" and operation.flags:
        raise NotCarriedOut("flags of pwritev2 are not carried out")
    wanted = min(wanted, SHORT_MAX, max(operation.size, 0))
    data = _data(call, thread, event, wanted)
    if len(data) < wanted:
        raise NotCarriedOut("the bytes to be written cannot be read")
    has_offset = call.offset >= 0 and operation.offset >= 0
    descriptor = _writable(thread, operation.fd, has_offset)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotCarriedOut("a short write is carried out on regular files only")
        if not is_waiting():
            raise CallerGone
        return os.pwrite(descriptor, data, operation.offset) if has_offset else os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _data(call: Call, thread: Thread, event: Event, wanted: int) -> bytes:
    if call.vector >= 0:
        pieces = vector(thread.process, event[call.vector], event[call.count])
        return gather(thread.process, pieces, wanted)
    return thread.process.read(event[call.data], wanted)


def _writable(thread: Thread, number: int, has_offset: bool) -> int:
    """The target's open file description, or another one of the same file where that does as well."""
    try:
        return notify.borrow_descriptor(thread.process.pid, number)
    except OSError:
        pass
    try:
        with open(f"/proc/{thread.tid}/fdinfo/{number}", "rb") as information:
            flags = int(information.read(256).split()[3], 8)
        appends = flags & os.O_APPEND
        if not has_offset and not appends:
            raise NotCarriedOut("pidfd_getfd is forbidden here, and a re-opened file would leave the position behind")
        return os.open(f"/proc/{thread.tid}/fd/{number}", os.O_WRONLY | os.O_CLOEXEC | appends)
    except (OSError, ValueError, IndexError) as error:
        raise NotCarriedOut(f"the file cannot be reached from outside: {error}") from error


def is_stopped_or_gone(tid: int) -> bool:
    """Whether a thread that was sent SIGSTOP has finished its call and stands still, or is no more."""
    try:
        with open(f"/proc/{tid}/stat", "rb") as information:
            state = information.read(512).rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state in (b"T", b"t", b"Z", b"X")
