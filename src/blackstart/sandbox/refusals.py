"""What Landlock cannot close, closed by a seccomp filter, whatever the path: the kernel shows filters no paths.

Changes of mode, owner, time and attributes, connections, the internet, System V and POSIX queues, keyrings, and
calls that name another process. A call that a program may make on itself stays (its own limits, its own priority).
This filter stands beside that of the gate; of two answers the kernel takes the refusal.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

_ARCHITECTURE = 0xC00000B7 if platform.machine() in ("aarch64", "arm64") else 0xC000003E
_COLUMN = 1 if _ARCHITECTURE == 0xC00000B7 else 0
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06

# Numbers on x86-64 and arm64; -1: the architecture has no such call.
_NUMBERS = {
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, -1), "fchown": (93, 55), "lchown": (94, -1), "fchownat": (260, 54),
    "utime": (132, -1), "utimes": (235, -1), "futimesat": (261, -1), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195),
    "semget": (64, 190), "semop": (65, 193), "semtimedop": (220, 192), "semctl": (66, 191),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "mq_open": (240, 180), "mq_unlink": (241, 181),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "connect": (42, 203), "socket": (41, 198), "socketpair": (53, 199),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "clone": (56, 220), "clone3": (435, 435), "unshare": (272, 97), "setns": (308, 268),
    "prlimit64": (302, 261), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "ptrace": (101, 117), "process_vm_writev": (311, 271), "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    "perf_event_open": (298, 241), "bpf": (321, 280), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "open_by_handle_at": (304, 265), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "mount_setattr": (442, 442),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fspick": (433, 433),
    "chroot": (161, 51), "vhangup": (153, 58), "ioctl": (16, 29), "fcntl": (72, 25),
}  # fmt: skip

_NOT_PERMITTED = (
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat setxattr lsetxattr "
    "fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr shmget shmat shmctl semget "
    "semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink add_key request_key keyctl setns "
    "process_madvise process_mrelease process_vm_writev kcmp pidfd_getfd perf_event_open bpf userfaultfd "
    "fanotify_init open_by_handle_at quotactl quotactl_fd mount umount2 pivot_root mount_setattr open_tree move_mount "
    "fsopen fspick chroot vhangup"
).split()
_UNKNOWN = ("io_uring_setup", "io_uring_enter", "io_uring_register", "clone3")


@dataclass(frozen=True)
class Refusal:
    """Refuse a call if argument & mask is among the values, or is not, where `unless`."""

    call: str
    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    unless: bool = False
    error: int = errno.EPERM


# All flags of clone and unshare that make namespaces (time, cgroup, mount, uts, ipc, user, pid, net).
_NAMESPACES = (0x80, 0x02000000, 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
# Attributes of files, and terminals: FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_FSSETXATTR, TIOCSTI, TIOCLINUX.
_IOCTLS = (0x40086602, 0x40046602, 0x401C5820, 0x5412, 0x541C)
_SELF_ONLY = (
    "prlimit64 sched_setparam sched_setscheduler sched_setaffinity sched_setattr migrate_pages move_pages".split()
)
_CONDITIONAL = (
    # Only sockets that must be connected to reach somebody, and none may be connected.
    Refusal("socket", 0, (1,), unless=True, error=errno.EACCES),
    Refusal("socket", 1, (1, 5), mask=0xF, unless=True, error=errno.EACCES),
    Refusal("socketpair", 1, (1, 5), mask=0xF, unless=True, error=errno.EACCES),
    *(Refusal("unshare", 0, (flag,), mask=flag) for flag in _NAMESPACES),
    # 0x80 in clone is part of the exit signal's byte, not a namespace.
    *(Refusal("clone", 0, (flag,), mask=flag) for flag in _NAMESPACES[1:]),
    *(Refusal(call, 0, (0,), unless=True) for call in _SELF_ONLY),
    Refusal("setpriority", 0, (0,), unless=True),
    Refusal("setpriority", 1, (0,), unless=True),
    Refusal("ioprio_set", 0, (1,), unless=True),
    Refusal("ioprio_set", 1, (0,), unless=True),
    Refusal("ioctl", 1, _IOCTLS),
    Refusal("fcntl", 1, (1024,)),  # F_SETLEASE on a file of the host
)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _return(error: int) -> bytes:
    return _instruction(_RETURN, _ERRNO | error if error else _ALLOW)


def _number(call: str) -> int:
    return _NUMBERS[call][_COLUMN]


def _plain(call: str, error: int) -> list[bytes]:
    if _number(call) < 0:
        return []
    return [_instruction(_EQUAL, _number(call), 0, 1), _return(error)]


def _block(refusal: Refusal) -> list[bytes]:
    """The instructions for one conditional refusal; the number is loaded before and after it."""
    tests = [_instruction(_LOAD, 16 + 8 * refusal.argument), _instruction(_AND, refusal.mask)]
    count = len(refusal.values)
    for index, value in enumerate(refusal.values):
        left = count - index - 1
        if refusal.unless:  # a match skips the remaining tests and the refusal
            tests.append(_instruction(_EQUAL, value, left + 1, 0))
        else:  # a match skips the remaining tests; the last miss skips the refusal
            tests.append(_instruction(_EQUAL, value, left, 0 if left else 1))
    body = [*tests, _return(refusal.error)]
    return [_instruction(_EQUAL, _number(refusal.call), 0, len(body)), *body, _instruction(_LOAD, 0)]


def compile_refusals() -> bytes:
    """The filter, as an array of struct sock_filter."""
    code = [
        _instruction(_LOAD, 4),
        _instruction(_EQUAL, _ARCHITECTURE, 1, 0),
        _return(errno.ENOSYS),  # programs for another architecture have other numbers
        _instruction(_LOAD, 0),
    ]
    if _COLUMN == 0:
        code += [_instruction(_AT_LEAST, 0x40000000, 0, 1), _return(errno.ENOSYS)]
    for call in _NOT_PERMITTED:
        code += _plain(call, errno.EPERM)
    code += _plain("connect", errno.EACCES)
    for call in _UNKNOWN:
        code += _plain(call, errno.ENOSYS)
    for refusal in _CONDITIONAL:
        code += _block(refusal)
    return b"".join([*code, _return(0)])
