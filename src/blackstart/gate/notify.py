"""The kernel's side of the gate: the ioctls of a seccomp listener, the flags, loading a filter into this thread.

Only `fcntl.ioctl` and ctypes, so that nothing has to be compiled. Numbers are the same on x86_64 and aarch64 except
those of system calls. The listener blocks in RECEIVE when nothing waits, whatever its flags: poll it first.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import select
import struct

from blackstart.core.errors import BlackstartError
from blackstart.gate import calls as tables

RECEIVE, SEND, ID_VALID, SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082102, 0x40082104
SYNC_WAKE_UP = 1
CONTINUE = 1
# id, thread, flags, call number, architecture, instruction pointer, six arguments
NOTIFICATION = struct.Struct("=QIIiIQ6Q")
RESPONSE = struct.Struct("=QqiI")
# What both begin with.
IDENTITY = struct.Struct("=Q")

_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 8, 32
_SET_NO_NEW_PRIVS = 38
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_TGKILL = {"x86_64": 234, "aarch64": 131}
_OPENAT2, _PIDFD_OPEN, _PIDFD_GETFD = 437, 434, 438
_TIMERFD_CREATE = {"x86_64": 283, "aarch64": 85}
_TIMERFD_SETTIME = {"x86_64": 286, "aarch64": 86}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    """A raw system call; OSError on failure."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *converted))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def waits_killably() -> bool:
    """Whether only deadly signals take a caller away from the gate: from Linux 5.19 on, if the loader asks for it."""
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return version is not None and (int(version[1]), int(version[2])) >= (5, 19)


def load_filter(program: bytes) -> int:
    """Load the filter into this thread, for good, and return its listener. Sets no_new_privs."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.addressof(buffer))
    _libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    number = _SECCOMP[tables.machine()]
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):
        try:
            return _syscall(number, _SET_MODE_FILTER, flags, ctypes.addressof(header))
        except OSError as error:
            if error.errno != errno.EINVAL or flags == _NEW_LISTENER:
                raise listener_refused(error) from error
    raise AssertionError("unreachable")


def listener_refused(error: OSError) -> BlackstartError:
    """What to tell the operator when the kernel gives no listener."""
    if error.errno == errno.EBUSY:
        return BlackstartError(
            "the gate cannot be used inside another gate: a process tree has one seccomp listener",
            next_step="run it outside of blackstart and of container runtimes that use seccomp notification, "
            "or record with the strace backend",
            exit_status=3,
        )
    return BlackstartError(
        f"the kernel refuses a seccomp listener ({error.strerror})",
        next_step="it needs Linux 5.15 with CONFIG_SECCOMP_FILTER; in a container, a seccomp profile that lets "
        "`seccomp` pass; or the strace backend",
        exit_status=3,
    )


def set_sync_wake_up(listener: int) -> bool:
    """Ask for the wake-up on the same processor, which halves a round trip; False before Linux 6.6."""
    try:
        fcntl.ioctl(listener, SET_FLAGS, SYNC_WAKE_UP)
    except OSError:
        return False
    return True


def pass_until_end(listener: int, pipe: int) -> None:
    """Let every call go on until the other end of `pipe` is closed: what a launcher does between filter and exec.

    The target's own first call is never taken: exec closes the pipe before it, and the pipe is looked at last.
    """
    both, only = select.poll(), select.poll()
    both.register(listener, select.POLLIN)
    both.register(pipe, select.POLLIN)
    only.register(pipe, select.POLLIN)
    buffer = bytearray(NOTIFICATION.size)
    while True:
        both.poll()
        if only.poll(0):
            return
        buffer[:] = bytes(NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, RECEIVE, buffer)
            fcntl.ioctl(listener, SEND, RESPONSE.pack(NOTIFICATION.unpack(buffer)[0], 0, 0, CONTINUE))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINTR):
                raise


def is_waiting(listener: int, notification: int) -> bool:
    """Whether the call of this notification still waits: what was read from memory before belongs to it."""
    try:
        fcntl.ioctl(listener, ID_VALID, struct.pack("=Q", notification))
    except OSError:
        return False
    return True


def signal_thread(process: int, thread: int, signal: int) -> None:
    """Send a signal to one thread."""
    _syscall(_TGKILL[tables.machine()], process, thread, signal)


def borrow_descriptor(process: int, descriptor: int) -> int:
    """A descriptor of our own for the same open file description of a process; OSError where it may not be had."""
    pidfd = _syscall(_PIDFD_OPEN, process, 0)
    try:
        return _syscall(_PIDFD_GETFD, pidfd, descriptor, 0)
    finally:
        os.close(pidfd)


def open_beneath(root: int, path: str, flags: int, *, follow: bool = True) -> int:
    """Open a path as if `root` were `/`: no link leads out of it, magic links are refused."""
    resolve_in_root, resolve_no_magic_links = 0x10, 0x02
    flags |= os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    how = ctypes.create_string_buffer(struct.pack("=QQQ", flags, 0, resolve_in_root | resolve_no_magic_links), 24)
    return _syscall(_OPENAT2, root, os.fsencode(path), ctypes.addressof(how), 24)


def open_inside(process: int, path: str, flags: int) -> int:
    """Open a path as it is to this process: a link means what it means there, and never leads to our own files."""
    root = os.open(f"/proc/{process}/root", os.O_PATH | os.O_CLOEXEC)
    try:
        return open_beneath(root, path, flags)
    finally:
        os.close(root)


class Timer:
    """A descriptor that becomes readable at a time of the monotonic clock."""

    def __init__(self) -> None:
        clock_monotonic, flags = 1, os.O_CLOEXEC | os.O_NONBLOCK
        self.descriptor = _syscall(_TIMERFD_CREATE[tables.machine()], clock_monotonic, flags)
        self._set = _TIMERFD_SETTIME[tables.machine()]

    def set(self, at_s: float) -> None:
        """Ring at this time; 0 stops it."""
        absolute = 1
        nanoseconds = max(1, round(at_s * 1e9)) if at_s else 0
        spec = ctypes.create_string_buffer(struct.pack("=qqqq", 0, 0, *divmod(nanoseconds, 10**9)), 32)
        _syscall(self._set, self.descriptor, absolute, ctypes.addressof(spec), None)

    def clear(self) -> None:
        """Stop ringing."""
        try:
            os.read(self.descriptor, 8)
        except BlockingIOError:
            pass

    def close(self) -> None:
        os.close(self.descriptor)
