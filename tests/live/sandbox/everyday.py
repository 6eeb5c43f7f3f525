"""What programs do with their state, one line of result each; run in the directory given, outside and inside.

Results hold nothing that may differ between two directories of one system: no times, no inode numbers.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import pty
import select
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile

os.chdir(sys.argv[1])
L = ctypes.CDLL(None, use_errno=True)
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def write(name, text, mode="w"):
    with open(name, mode) as file:
        return file.write(text)


def read(name):
    with open(name) as file:
        return file.read()


def refused(action):
    try:
        return action()
    except OSError as error:
        return errno.errorcode[error.errno]


@check
def rename_of_a_directory_that_was_there():
    os.rename("old", "old2")
    os.rename("old2", "old3")
    return sorted(os.listdir("old3")), read("old3/inner/file")


@check
def rename_onto():
    write("a", "1")
    write("b", "2")
    os.replace("a", "b")
    os.mkdir("full")
    write("full/x", "")
    os.mkdir("empty")
    return read("b"), refused(lambda: os.rename("empty", "full")), refused(lambda: os.rename("full", "empty"))


@check
def rename_exchange():
    write("left", "L")
    write("right", "R")
    result = L.renameat2(-100, b"left", -100, b"right", 2)
    return result, read("left"), read("right"), L.renameat2(-100, b"left", -100, b"right", 1)


@check
def hard_links_that_were_there():
    write("first", "more", "a")
    one, two = os.stat("first"), os.stat("second")
    return one.st_ino == two.st_ino, one.st_nlink, read("second")


@check
def hard_links_made():
    write("made", "x")
    os.link("made", "made2")
    os.unlink("made")
    return os.stat("made2").st_nlink, read("made2")


@check
def unnamed_file_linked():
    descriptor = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(descriptor, b"unnamed")
    linked = L.linkat(-100, f"/proc/self/fd/{descriptor}".encode(), -100, b"named", 0x400)
    return linked, read("named"), oct(os.stat("named").st_mode)


@check
def mapping_shared():
    with open("mapped", "r+b") as file:
        early = mmap.mmap(os.open("mapped", os.O_RDONLY), 0, prot=mmap.PROT_READ)
        with mmap.mmap(file.fileno(), 0) as memory:
            memory[0:5] = b"12345"
            memory.flush()
        seen = early[:8]
        file.seek(0)
        return seen, file.read(8)


@check
def locks_whole_file():
    first, second = open("locked"), open("locked", "a")
    fcntl.flock(first, fcntl.LOCK_EX)
    return refused(lambda: fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB))


@check
def locks_of_ranges():
    file = open("locked", "r+")
    fcntl.lockf(file, fcntl.LOCK_EX, 10, 5)
    child = "import fcntl,sys; f=open('locked','r+'); fcntl.lockf(f, fcntl.LOCK_EX|fcntl.LOCK_NB, 3, 8)"
    return subprocess.run([sys.executable, "-c", child], stderr=subprocess.DEVNULL, check=False).returncode


@check
def attributes_of_files():
    os.setxattr("attributed", "user.more", b"2")
    found = [(n, os.getxattr("attributed", n)) for n in sorted(os.listxattr("attributed"))]
    os.removexattr("attributed", "user.there")
    return found, os.listxattr("attributed"), refused(lambda: os.getxattr("attributed", "user.none"))


@check
def watching():
    L.inotify_init1.restype = ctypes.c_int
    watch = L.inotify_init1(os.O_NONBLOCK)
    L.inotify_add_watch(watch, b".", 0x3C0 | 0x2 | 0x8)
    L.inotify_add_watch(watch, b"locked", 0x2)
    write("watched", "1")
    os.rename("watched", "watched2")
    os.unlink("watched2")
    write("locked", "w", "a")
    data, seen = os.read(watch, 65536), []
    while data:
        _, mask, _, length = struct.unpack("iIII", data[:16])
        seen.append((mask, data[16 : 16 + length].rstrip(b"\0")))
        data = data[16 + length :]
    return seen


@check
def unix_socket():
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("socket")
        server.listen()
        client.connect("socket")
        accepted = server.accept()[0]
        client.sendall(b"hello")
        kind = stat.S_ISSOCK(os.stat("socket").st_mode)
        again = socket.socket(socket.AF_UNIX)
        return accepted.recv(9), kind, refused(lambda: again.bind("socket"))


@check
def socket_that_was_there():
    with socket.socket(socket.AF_UNIX) as client:
        return refused(lambda: client.connect("stale")), stat.S_ISSOCK(os.stat("stale").st_mode)


@check
def descriptors_passed():
    left, right = socket.socketpair()
    with open("locked") as file:
        left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))])
    ancillary = right.recvmsg(1, 64)[1]
    return os.fstat(array.array("i", ancillary[0][2])[0]).st_size == os.stat("locked").st_size


@check
def named_pipes():
    os.mkfifo("pipe2", 0o600)
    said = []
    for name in ("pipe", "pipe2"):
        with subprocess.Popen(["sh", "-c", f"echo through {name} > {name}"]):
            said.append(read(name))
    return said, refused(lambda: os.open("pipe", os.O_WRONLY | os.O_NONBLOCK))


@check
def terminals():
    parent, child = pty.openpty()
    os.write(parent, b"typed\n")
    os.write(child, b"printed\n")
    ready = select.select([child], [], [], 5)[0]
    return os.isatty(child), bool(ready) and os.read(child, 99), os.ttyname(child).startswith("/dev/pts/")


@check
def terminal_as_controlling_one():
    pid, parent = pty.fork()
    if pid == 0:
        with open("/dev/tty", "w") as terminal:
            terminal.write(f"own terminal {os.getsid(0) == os.getpid()}\n")
        os._exit(0)
    output = b""
    with contextlib.suppress(OSError):
        while data := os.read(parent, 999):
            output += data
    os.waitpid(pid, 0)
    return output


@check
def holes():
    info = os.stat("sparse")
    descriptor = os.open("sparse", os.O_RDWR)
    os.pwrite(descriptor, b"x", 3 << 20)
    os.truncate("sparse", 1 << 20)
    # Where data lies differs between file systems, but not that it is a hole, and that it reads as zeros.
    return info.st_size, info.st_blocks * 512 < info.st_size // 4, os.pread(descriptor, 4, 1 << 19)


@check
def allocation():
    descriptor = os.open("allocated", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(descriptor, 0, 1 << 20)
    punched = L.fallocate(descriptor, 3, ctypes.c_long(4096), ctypes.c_long(4096))
    return os.fstat(descriptor).st_size, punched, os.pread(descriptor, 2, 4096)


@check
def appending():
    one, two = (os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT) for _ in range(2))
    for descriptor, text in ((one, b"1"), (two, b"2"), (one, b"3")):
        os.write(descriptor, text)
    return read("log")


@check
def permissions():
    write("secret", "s")
    os.chmod("secret", 0o600)
    os.chmod("old3", 0o2750)
    modes = [oct(os.stat(n).st_mode) for n in ("secret", "old3", "moded", "script")]
    return modes, os.access("script", os.X_OK), subprocess.run(["./script"], capture_output=True, check=False).stdout


@check
def owners():
    info = os.stat("locked")
    os.chown("locked", os.getuid(), os.getgid())
    return info.st_uid == os.getuid(), info.st_gid == os.getgid(), os.getuid() == os.geteuid()


@check
def times():
    info = os.stat("dated")
    os.utime("dated", ns=(1_000_000_000_123_456_789, 1_100_000_000_987_654_321))
    return info.st_mtime_ns, os.stat("dated").st_mtime_ns, os.stat("old-directory").st_mtime_ns


@check
def links():
    os.symlink("nowhere", "dangling")
    os.symlink("loop", "loop")
    return os.readlink("link"), read("link"), refused(lambda: read("dangling")), refused(lambda: read("loop"))


@check
def odd_names():
    names = [os.fsencode(n) for n in os.listdir("odd")]
    write(b"odd/" + b"n" * 255, "x")
    return sorted(names), refused(lambda: write(b"odd/" + b"n" * 256, "x")), os.stat(b"odd/" + b"n" * 255).st_size


@check
def deleted_but_open():
    with open("gone", "w+") as file:
        file.write("still")
        file.flush()
        os.unlink("gone")
        file.seek(0)
        return file.read(), os.fstat(file.fileno()).st_nlink, os.path.exists("gone")


@check
def directories():
    os.makedirs("tree/a/b/c")
    return refused(lambda: os.rmdir("tree")), refused(lambda: os.rename("tree", "tree/a/x")), os.stat("tree").st_nlink


@check
def removing_what_was_there():
    os.unlink("removed/file")
    os.rmdir("removed")
    os.mkdir("removed")
    return os.listdir("removed")


@check
def database():
    with contextlib.closing(sqlite3.connect("store.db")) as store:
        mode = store.execute("pragma journal_mode").fetchone()
        store.execute("insert into t values (3)")
        store.commit()
        rows = store.execute("select x from t order by x").fetchall()
        return mode, rows, store.execute("pragma integrity_check").fetchone(), os.path.exists("store.db-wal")


@check
def dbm_and_temporary_files():
    with tempfile.NamedTemporaryFile(dir=".", delete=False) as file:
        file.write(b"t")
        os.fsync(file.fileno())
    descriptor = os.open(".", os.O_RDONLY)
    os.fsync(descriptor)
    return oct(os.stat(file.name).st_mode), os.path.dirname(tempfile.mkstemp()[1]) == tempfile.gettempdir()


@check
def opening_exclusively():
    os.close(os.open("exclusive", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    return refused(lambda: os.open("exclusive", os.O_CREAT | os.O_EXCL)), refused(lambda: os.open("none", os.O_RDONLY))


@check
def directly():
    descriptor = os.open("direct", os.O_CREAT | os.O_RDWR | os.O_DSYNC)
    return os.write(descriptor, b"d" * 4096), os.fdatasync(descriptor)


@check
def copying():
    source, target = os.open("locked", os.O_RDONLY), os.open("copied", os.O_CREAT | os.O_WRONLY)
    size = os.stat("locked").st_size
    return os.copy_file_range(source, target, size) == size, os.sendfile(target, source, 0, size) == size


for function in CHECKS:
    try:
        print(function.__name__, function())
    except Exception as error:
        print(function.__name__, type(error).__name__, error)
