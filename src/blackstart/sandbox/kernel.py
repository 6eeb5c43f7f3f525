"""The system calls that the standard library lacks, as plain functions that raise OSError.

Everything here also runs inside the helper processes of the sandbox, which have the standard library and
nothing else, so this module imports nothing of ours. Numbers stand for x86-64 and arm64; new system calls
(from 424 on) have one number everywhere.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import stat
import struct
from collections.abc import Iterable

NEWNS, NEWUTS, NEWIPC, NEWUSER = 0x20000, 0x4000000, 0x8000000, 0x10000000
NEWPID, NEWNET, NEWTIME = 0x20000000, 0x40000000, 0x80

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
DETACH = 2

PDEATHSIG, NO_NEW_PRIVS, CAPBSET_READ, CAPBSET_DROP, SUBREAPER = 1, 38, 23, 24, 36
CAP_AMBIENT, CAP_AMBIENT_RAISE, CAP_AMBIENT_CLEAR_ALL = 47, 2, 4
ADDR_NO_RANDOMIZE = 0x0040000

_ARM = platform.machine() in ("aarch64", "arm64")
_NUMBER = {
    "clone": 220 if _ARM else 56,
    "pivot_root": 41 if _ARM else 155,
    "seccomp": 277 if _ARM else 317,
    "capget": 90 if _ARM else 125,
    "capset": 91 if _ARM else 126,
    "keyctl": 219 if _ARM else 250,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

_CAPABILITIES_3 = 0x20080522
# Capabilities by number, as in linux/capability.h.
CAPABILITIES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable "
    "net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot "
    "sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease "
    "audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read "
    "perfmon bpf checkpoint_restore"
).split()

# execute, write, read, truncate, ioctl
_LANDLOCK_ON_FILES = 1 | 2 | 4 | 1 << 14 | 1 << 15

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# A raw clone must keep the interpreter's lock, as os.fork does: hence PyDLL.
_locked = ctypes.PyDLL(None, use_errno=True)
_locked.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} ({what})")
    return result


def _call(name: str, *arguments: object) -> int:
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(_NUMBER[name]), *converted), name)


def fork_into(namespaces: int) -> int:
    """Fork straight into new namespaces: 0 in the child, which is process 1 there if NEWPID is among them.

    Only from a single-threaded process: this bypasses the locks that the C library takes around its own fork.
    """
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    result = _locked.syscall(
        ctypes.c_long(_NUMBER["clone"]), ctypes.c_ulong(namespaces | signal.SIGCHLD), None, None, None, None
    )
    number = ctypes.get_errno()
    if result == 0:
        api.PyOS_AfterFork_Child()
        return 0
    api.PyOS_AfterFork_Parent()
    if result < 0:
        raise OSError(number, f"{os.strerror(number)} (clone)")
    return int(result)


def unshare(namespaces: int) -> None:
    """Leave the given namespaces for new ones."""
    _checked(_libc.unshare(ctypes.c_int(namespaces)), "unshare")


def enter_namespace(descriptor: int, kind: int) -> None:
    """setns(2): this thread joins the namespace of that descriptor."""
    _checked(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), "setns")


def mount(source: str, place: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2); an empty kind is none."""
    result = _libc.mount(
        os.fsencode(source), os.fsencode(place), kind.encode() or None, ctypes.c_ulong(flags), os.fsencode(options)
    )
    _checked(result, f"mount {kind or 'bind'} at {place}")


def unmount(place: str, flags: int = DETACH) -> None:
    """umount2(2), by default lazily."""
    _checked(_libc.umount2(os.fsencode(place), ctypes.c_int(flags)), f"unmount {place}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _call("pivot_root", os.fsencode(new), os.fsencode(old))


def make_read_only(place: str, *, recursive: bool = False) -> None:
    """Set only the read-only attribute of a mount; the other flags of a mount of the host are locked and stay."""
    attributes = struct.pack("=QQQQ", 1, 0, 0, 0)
    at_recursive = 0x8000 if recursive else 0
    _call("mount_setattr", -100, os.fsencode(place), at_recursive, attributes, len(attributes))


def prctl(option: int, *arguments: int) -> int:
    """prctl(2) with integer arguments."""
    padded = [ctypes.c_ulong(a) for a in arguments] + [ctypes.c_ulong(0)] * (4 - len(arguments))
    return _checked(_libc.prctl(ctypes.c_int(option), *padded), f"prctl {option}")


def die_with_parent() -> None:
    """SIGKILL to this process when its parent ends. Lost on a change of user: call it after that."""
    prctl(PDEATHSIG, signal.SIGKILL)


def no_address_randomization() -> None:
    """Same addresses in every start; refused on some machines, which costs nothing but repeatable addresses."""
    _libc.personality(ctypes.c_ulong(ADDR_NO_RANDOMIZE))


def drop_from_bounding_set(names: Iterable[str]) -> None:
    """No program started from here can have these capabilities, whoever its user is.

    Dropping takes CAP_SETPCAP, which a container's root may lack; it then often has nothing left to drop.
    """
    for name in names:
        index = CAPABILITIES.index(name)
        if _bounding(index) > 0:
            prctl(CAPBSET_DROP, index)


def _bounding(index: int) -> int:
    """1 if a program may get this capability, 0 if none may, below 0 if this kernel does not know it."""
    return int(_libc.prctl(ctypes.c_int(CAPBSET_READ), ctypes.c_ulong(index), *[ctypes.c_ulong(0)] * 3))


def permitted() -> frozenset[str]:
    """The capabilities that this thread may have; it can take no more (capabilities(7))."""
    data = ctypes.create_string_buffer(24)
    _call("capget", struct.pack("=Ii", _CAPABILITIES_3, 0), data)
    _, low, _, _, high, _ = struct.unpack("=6I", data.raw)
    return frozenset(name for index, name in enumerate(CAPABILITIES) if (low | high << 32) >> index & 1)


def set_capabilities(names: Iterable[str]) -> None:
    """The capabilities of this thread: these are effective and permitted, none is inherited."""
    bits = 0
    for name in names:
        bits |= 1 << CAPABILITIES.index(name)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = struct.pack("=Ii", _CAPABILITIES_3, 0)
    _call("capset", header, struct.pack("=6I", low, low, 0, high, high, 0))


def pass_on_capabilities(names: Iterable[str]) -> None:
    """The capabilities of this thread, and of every program that it becomes (ambient, capabilities(7))."""
    indexes = [CAPABILITIES.index(name) for name in names]
    bits = sum(1 << index for index in indexes)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    _call("capset", struct.pack("=Ii", _CAPABILITIES_3, 0), struct.pack("=6I", low, low, low, high, high, high))
    for index in indexes:
        prctl(CAP_AMBIENT, CAP_AMBIENT_RAISE, index)


def clear_ambient_capabilities() -> None:
    """No capability survives an exec by an ordinary user."""
    prctl(CAP_AMBIENT, CAP_AMBIENT_CLEAR_ALL)


def join_new_session_keyring() -> None:
    """Leave the caller's session keyring for an empty one."""
    _call("keyctl", 1, None, 0, 0, 0)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


FILTER_NEW_LISTENER, FILTER_WAIT_KILLABLE = 8, 32


def install_filter(code: bytes, flags: int = 0) -> int:
    """Install a seccomp filter (an array of struct sock_filter); with FILTER_NEW_LISTENER returns the listener.

    The caller has set no_new_privs before.
    """
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    return _call("seccomp", 1, flags, ctypes.byref(program))


def install_listening_filter(code: bytes) -> int:
    """A filter with a listener; waits killably where the kernel can (5.19 on), else without."""
    try:
        return install_filter(code, FILTER_NEW_LISTENER | FILTER_WAIT_KILLABLE)
    except OSError as error:
        if error.errno != 22:
            raise
        return install_filter(code, FILTER_NEW_LISTENER)


def landlock_version() -> int:
    """The version of Landlock's interface; raises where there is none."""
    return _call("landlock_create_ruleset", None, 0, 1)


def landlock_ruleset(rights: bytes) -> int:
    """A ruleset that handles these rights (struct landlock_ruleset_attr)."""
    return _call("landlock_create_ruleset", rights, len(rights), 0)


def landlock_allow(ruleset: int, place: int, rights: int) -> None:
    """Allow rights at and below an open path; those that only directories have are left out for a file."""
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        rights &= _LANDLOCK_ON_FILES
    _call("landlock_add_rule", ruleset, 1, struct.pack("=Qi", rights, place), 0)


def landlock_restrict(ruleset: int) -> None:
    """Put this process and its future children under a ruleset, for good."""
    _call("landlock_restrict_self", ruleset, 0)


def write_setting(name: str, value: bytes) -> None:
    """Write a small kernel file below /proc in one call."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value)
    finally:
        os.close(descriptor)
