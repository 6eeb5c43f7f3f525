"""The system calls that the gate knows: their numbers and what their arguments mean.

One row a call: name, number on x86_64, number on aarch64 (`-`: no such call there), then the role of each argument.
Roles: fd, at (a directory descriptor), path, at2, path2 (the new name of a rename or link), target (text of a symbolic
link), from (a descriptor that is read by a copying call), data and size, vector and count (an iovec array), message
(a msghdr), address and length (a sockaddr), offset, flags, how (open_how), `.` (not looked at).
The numbers never change: they are part of each kernel's promise to its programs; a test compares them with the headers.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Collection
from functools import cache, lru_cache

import msgspec

from blackstart.core.errors import BlackstartError

_TABLE = """
read                0   63  fd . size
pread64            17   67  fd . size offset
readv              19   65  fd . .
preadv            295   69  fd . . offset
preadv2           327  286  fd . . offset . flags
getdents           78    -  fd . size
getdents64        217   61  fd . size
write               1   64  fd data size
pwrite64           18   68  fd data size offset
writev             20   66  fd vector count
pwritev           296   70  fd vector count offset
pwritev2          328  287  fd vector count offset . flags
sendfile           40   71  fd from . size
copy_file_range   326  285  from . fd . size flags
splice            275   76  from . fd . size flags
truncate           76   45  path size
ftruncate          77   46  fd size
fallocate         285   47  fd flags offset size
fsync              74   82  fd
fdatasync          75   83  fd
sync              162   81
syncfs            306  267  fd
sync_file_range   277   84  fd offset size flags
msync              26  227  . size flags
open                2    -  path flags
openat            257   56  at path flags
openat2           437  437  at path how
creat              85    -  path
close               3   57  fd
close_range       436  436  . . flags
dup2               33    -  fd .
dup3              292   24  fd . flags
flock              73   32  fd flags
fcntl              72   25  fd flags
mmap                9  222  . size . . fd offset
rename             82    -  path path2
renameat          264   38  at path at2 path2
renameat2         316  276  at path at2 path2 flags
link               86    -  path path2
linkat            265   37  at path at2 path2 flags
symlink            88    -  target path
symlinkat         266   36  target at path
unlink             87    -  path
unlinkat          263   35  at path flags
rmdir              84    -  path
mkdir              83    -  path
mkdirat           258   34  at path
mknod             133    -  path
mknodat           259   33  at path
chmod              90    -  path
fchmod             91   52  fd
fchmodat          268   53  at path
fchmodat2         452  452  at path . flags
chown              92    -  path
fchown             93   55  fd
lchown             94    -  path
fchownat          260   54  at path . . flags
utime             132    -  path
utimes            235    -  path
futimesat         261    -  at path
utimensat         280   88  at path . flags
setxattr          188    5  path . . size flags
lsetxattr         189    6  path . . size flags
fsetxattr         190    7  fd . . size flags
removexattr       197   14  path
lremovexattr      198   15  path
fremovexattr      199   16  fd
stat                4    -  path
lstat               6    -  path
fstat               5   80  fd
newfstatat        262   79  at path . flags
statx             332  291  at path flags
access             21    -  path
faccessat         269   48  at path
faccessat2        439  439  at path . flags
readlink           89    -  path
readlinkat        267   78  at path
chdir              80   49  path
fchdir             81   50  fd
socket             41  198  . flags
connect            42  203  fd address length
bind               49  200  fd address length
listen             50  201  fd
accept             43  202  fd
accept4           288  242  fd . . flags
sendto             44  206  fd data size flags address length
sendmsg            46  211  fd message flags
sendmmsg          307  269  fd . . flags
recvfrom           45  207  fd . size flags
recvmsg            47  212  fd . flags
shutdown           48  210  fd flags
execve             59  221  path
execveat          322  281  at path . . flags
fork               57    -
vfork              58    -
clone              56  220  flags
clone3            435  435
kill               62  129  . flags
wait4              61  260  . . flags
exit_group        231   94  flags
nanosleep          35  101
clock_nanosleep   230  115  . flags
clock_settime     227  112
settimeofday      164  170
timer_settime     223  110
timerfd_settime   286   86  fd flags
setitimer          38  103
clock_gettime     228  113
gettimeofday       96  169
time              201    -
futex             202   98  . flags
set_tid_address   218   96
io_uring_setup    425  425  flags
"""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call: its numbers (-1: not on that machine) and where in a notification each role is (-1: nowhere).

    is_plain: it names one descriptor and nothing else that has to be looked up.
    """

    name: str
    x86_64: int
    aarch64: int
    fd: int = -1
    source: int = -1
    at: int = -1
    path: int = -1
    at2: int = -1
    path2: int = -1
    target: int = -1
    data: int = -1
    size: int = -1
    vector: int = -1
    count: int = -1
    message: int = -1
    address: int = -1
    length: int = -1
    offset: int = -1
    flags: int = -1
    how: int = -1
    is_plain: bool = False

    def number(self, machine: str) -> int:
        """Its number on x86_64 or aarch64; -1 if that machine has no such call."""
        return self.x86_64 if machine == "x86_64" else self.aarch64


# A notification has six fields before the arguments of the call.
_FIRST_ARGUMENT = 6
_LOOKED_UP = {"at", "path", "from", "vector", "message", "address", "how"}


def _read(table: str) -> dict[str, Call]:
    calls = {}
    for line in table.split("\n"):
        if not line:
            continue
        name, x86_64, aarch64, *roles = line.split()
        places = {
            ("source" if role == "from" else role): _FIRST_ARGUMENT + place
            for place, role in enumerate(roles)
            if role != "."
        }
        is_plain = "fd" in roles and not _LOOKED_UP & set(roles)
        numbers = (-1 if number == "-" else int(number) for number in (x86_64, aarch64))
        calls[name] = Call(name=name, x86_64=next(numbers), aarch64=next(numbers), is_plain=is_plain, **places)
    return calls


CALLS = _read(_TABLE)
MACHINES = ("x86_64", "aarch64")


def _group(text: str) -> frozenset[str]:
    names = frozenset(text.split())
    assert names <= CALLS.keys(), names - CALLS.keys()
    return names


READS = _group("read pread64 readv preadv preadv2 getdents getdents64")
WRITES = _group("write pwrite64 writev pwritev pwritev2")
COPIES = _group("sendfile copy_file_range splice")
SIZES = _group("truncate ftruncate fallocate")
SYNCS = _group("fsync fdatasync sync syncfs sync_file_range msync")
OPENS = _group("open openat openat2 creat")
DESCRIPTORS = _group("close close_range dup2 dup3")
LOCKS = _group("flock fcntl")
RENAMES = _group("rename renameat renameat2")
REMOVES = _group("unlink unlinkat rmdir")
MAKES = _group("link linkat symlink symlinkat mkdir mkdirat mknod mknodat")
ATTRIBUTES = _group(
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat "
    "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr"
)
LOOKUPS = _group("stat lstat fstat newfstatat statx access faccessat faccessat2 readlink readlinkat chdir fchdir")
FILES = OPENS | READS | WRITES | COPIES | SIZES | SYNCS | DESCRIPTORS | LOCKS | {"mmap"}
ENTRIES = RENAMES | REMOVES | MAKES | ATTRIBUTES
# What is asked of a file, by its name or by its descriptor.
OF_FILES = FILES | ENTRIES | LOOKUPS
SOCKETS = _group("socket connect bind listen accept accept4 sendto sendmsg sendmmsg recvfrom recvmsg shutdown")
PROCESSES = _group("execve execveat fork vfork clone clone3 kill wait4 exit_group")
TIME = _group("nanosleep clock_nanosleep clock_settime settimeofday timer_settime timerfd_settime setitimer")
# Calls that read the wall clock, where they are made at all: see `gate.wallclock`.
CLOCK_READS = _group("clock_gettime gettimeofday time")
GROUPS = {
    "files": FILES,
    "entries": ENTRIES,
    "sockets": SOCKETS,
    "processes": PROCESSES,
    "time": TIME,
    "reads": READS,
    "writes": WRITES,
    "syncs": SYNCS,
    "opens": OPENS,
    "lookups": LOOKUPS,
}
# Calls that may need more room on the file system; an open only where it makes a new file. Not renames, which need
# room only where a directory has to grow, and not truncations, which make holes.
GROWING = WRITES | COPIES | OPENS | MAKES | _group("fallocate setxattr lsetxattr fsetxattr")
# Calls that change what a file system holds: all of them fail on one that became read-only (an open for reading not).
MODIFYING = GROWING | ENTRIES | SIZES
GROUPS["growing"] = GROWING
GROUPS["modifying"] = MODIFYING

# Calls after which a descriptor number, or a name, may mean another file. Where all of them pass the gate, the path
# of a descriptor, and the working directory, is looked up once; otherwise at every call.
BOOKKEEPING = DESCRIPTORS | RENAMES | REMOVES | {"execve", "execveat", "chdir", "fchdir"}
# What a recording of a program needs: everything that faults are made of or that roles are read from.
DEFAULT = FILES | ENTRIES | BOOKKEEPING | (SOCKETS - _group("socket recvfrom recvmsg"))


@lru_cache(maxsize=64)
def closure(names: frozenset[str]) -> frozenset[str]:
    """`names` and the calls that must pass the gate too so that the paths of these are known (names of sockets)."""
    of_descriptors = {name for name in names if name in CALLS and CALLS[name].fd >= 0}
    return names | ({"connect", "bind"} if of_descriptors & (SOCKETS | WRITES | READS) else frozenset())


def numbers(names: Collection[str], machine: str) -> dict[int, Call]:
    """Number -> call on this machine; calls that it does not have are left out."""
    found = {}
    for name in names:
        call = known(name)
        if call.number(machine) >= 0:
            found[call.number(machine)] = call
    return found


@cache
def all_numbers(machine: str) -> dict[int, Call]:
    """Number -> call, of all there are on this machine; not to be changed."""
    return numbers(CALLS, machine)


def known(name: str) -> Call:
    """The call of that name, or a BlackstartError with the nearest one."""
    if name not in CALLS:
        near = difflib.get_close_matches(name, CALLS, n=1)
        step = f"did you mean {near[0]}?" if near else "see `blackstart.gate.calls` for the calls it knows"
        raise BlackstartError(f"the gate knows no system call {name!r}", next_step=step)
    return CALLS[name]


def expand(pattern: str) -> frozenset[str]:
    """The calls that `write`, `write|pwrite64`, a group's name such as `growing`, or `*` mean."""
    if pattern == "*":
        return frozenset(CALLS)
    names: set[str] = set()
    for part in pattern.split("|"):
        names |= GROUPS[part] if part in GROUPS else {known(part).name}
    return frozenset(names)


def machine() -> str:
    """x86_64 or aarch64; a BlackstartError on any other."""
    name = os.uname().machine
    if name not in MACHINES:
        raise BlackstartError(
            f"the gate has no table of system calls for {name}",
            next_step="run on x86_64 or aarch64",
            exit_status=3,
        )
    return name


def errno_number(name: str) -> int:
    """The number of an errno's name."""
    number = getattr(errno, name, None)
    if not isinstance(number, int):
        raise BlackstartError(f"no errno {name!r}", next_step="use a name such as EIO or ENOSPC")
    return number
