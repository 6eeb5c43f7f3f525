"""What the gate sees of real programs: every call, with the right paths, offsets, bytes and counts."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import msgspec
import pytest

from blackstart.core.trace import DIRECTORY, FILE, PIPE, SOCKET
from blackstart.gate import DEFAULT, Recorder, Supervisor, calls, context_of, launch
from blackstart.gate import filter as gate_filter

from .conftest import Stage, tamper, wait_for

pytestmark = pytest.mark.live

THREADS = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void *work(void *number) {
    char name[20], block[100]; sprintf(name, "t%ld", (long)number); memset(block, 'a' + (long)number, sizeof block);
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 1000; i++) pwrite(fd, block, sizeof block, i * 100);
    fsync(fd); close(fd); return 0; }
int main(void) {
    pthread_t all[8];
    for (long i = 0; i < 8; i++) pthread_create(all + i, 0, work, (void *)i);
    for (int i = 0; i < 8; i++) pthread_join(all[i], 0);
    if (!fork()) { execlp("sh", "sh", "-c", "echo child > child.txt", (char *)0); }
    wait(0); printf("done\n"); return 0; }
"""
GO = """
package main
import ("fmt"; "os"; "sync")
func main() {
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			name := fmt.Sprintf("g%d", i)
			f, err := os.Create(name + ".tmp")
			if err != nil { fmt.Println(err); return }
			if _, err = f.Write([]byte("hello")); err != nil { fmt.Println(err); return }
			f.Sync(); f.Close(); os.Rename(name + ".tmp", name)
		}(i)
	}
	all.Wait()
	fmt.Println("done")
}
"""


@pytest.mark.needs("gcc")
def test_threads_children_and_their_programs_are_seen_exactly(stage: Stage) -> None:
    ran = stage.run([stage.c(THREADS)])
    assert (ran.code, ran.output) == (0, b"done\n")
    writes = ran.calls("pwrite64")
    assert len(writes) == 8000
    for number in range(8):
        own = [o for o in writes if o.masked == f"$CWD/t{number}"]
        assert [o.nth for o in own] == list(range(1, 1001))
        assert [o.offset for o in own] == list(range(0, 100_000, 100))
        assert len({o.thread for o in own}) == 1
    assert len(ran.calls("fsync")) == 8
    assert [o.size for o in ran.calls("write")] == [6]
    assert {o.masked for o in ran.calls("write")} == {"$CWD/child.txt"}


@pytest.mark.needs("go")
def test_a_static_go_program_is_seen_exactly(stage: Stage) -> None:
    ran = stage.run([stage.go(GO)], record=Recorder(data=True))
    assert (ran.code, ran.output) == (0, b"done\n")
    assert sorted(o.masked for o in ran.calls("openat")) == [f"$CWD/g{i}.tmp" for i in range(4)]
    assert [o.data for o in ran.calls("write")] == [b"hello"] * 4
    assert sorted((o.path, o.path2) for o in ran.calls("renameat")) == [
        (str(stage.cwd / f"g{i}.tmp"), str(stage.cwd / f"g{i}")) for i in range(4)
    ]


@pytest.mark.needs("busybox")
def test_a_static_busybox_is_seen_exactly(stage: Stage) -> None:
    ran = stage.run(["busybox", "sh", "-c", "echo one > a; busybox mv a b; busybox ln b c; busybox rm b"])
    assert ran.code == 0
    changing = [(o.call, o.masked) for o in ran.calls() if o.changes]
    names = [name for name, _ in changing]
    assert [path for _, path in changing] == ["$CWD/a", "$CWD/a", "$CWD/a", "$CWD/b", "$CWD/b"]
    assert names[1] == "write" and names[2].startswith("rename") and names[3].startswith("link")


def test_offsets_and_bytes_of_plain_writes(stage: Stage) -> None:
    script = """
import gc
import os
fd = os.open("f", os.O_RDWR | os.O_CREAT)
os.write(fd, b"abc"); os.write(fd, b"de"); os.pwrite(fd, b"X", 1); os.writev(fd, [b"one", b"two"])
os.lseek(fd, 100, 0); os.write(fd, b"far")
add = os.open("f", os.O_WRONLY | os.O_APPEND); os.write(add, b"end")
os.pwritev(fd, [b"12", b"", b"3"], 7); os.ftruncate(fd, 5); os.truncate("f", 4)
"""
    ran = stage.run([sys.executable, "-c", script], record=Recorder(data=True, offsets=True))
    assert ran.code == 0
    seen = [(o.call, o.offset, o.size, o.data) for o in ran.calls() if o.changes and o.call != "openat"]
    assert seen == [
        ("write", 0, 3, b"abc"),
        ("write", 3, 2, b"de"),
        ("pwrite64", 1, 1, b"X"),
        ("writev", 5, 6, b"onetwo"),
        ("write", 100, 3, b"far"),
        ("write", 103, 3, b"end"),
        ("pwritev2", 7, 3, b"123"),
        ("ftruncate", -1, 5, b""),
        ("truncate", -1, 4, b""),
    ]
    assert {o.kind for o in ran.calls("write")} == {FILE}


def test_names_of_links_directories_and_descriptors(stage: Stage) -> None:
    script = """
import gc
import os
os.mkdir("real"); os.symlink("real", "link"); os.makedirs("a/b")
open("link/x", "w").close()
d = os.open("real", os.O_RDONLY); os.rename("x", "y", src_dir_fd=d, dst_dir_fd=d)
os.link("real/y", "a/../z"); os.unlink("y", dir_fd=d); os.fsync(d)
os.chdir("a"); open("./b//deep", "w").close(); os.rmdir("/" + os.getcwd() + "/../a/nothing") if 0 else None
fd = os.open("first", os.O_CREAT | os.O_WRONLY); os.rename("first", "second"); os.write(fd, b"1")
os.unlink("second"); os.write(fd, b"2"); copy = os.dup(fd); os.dup2(d, fd); os.fsync(fd); os.close(fd)
fd = os.open("third", os.O_CREAT | os.O_WRONLY); os.write(fd, b"3")
"""
    ran = stage.run([sys.executable, "-c", script])
    assert (ran.code, ran.output) == (0, b"")
    left_out = ("close", "dup2", "getdents64", "read", "chdir")
    seen = [(o.call, o.masked) for o in ran.calls() if o.call not in left_out]
    base = "$CWD"
    assert seen == [
        ("mkdir", f"{base}/real"),
        ("symlink", f"{base}/link"),
        ("mkdir", f"{base}/a"),
        ("mkdir", f"{base}/a/b"),
        ("openat", f"{base}/real/x"),
        ("openat", f"{base}/real"),
        ("renameat", f"{base}/real/x"),
        ("link", f"{base}/real/y"),
        ("unlinkat", f"{base}/real/y"),
        ("fsync", f"{base}/real"),
        ("openat", f"{base}/a/b/deep"),
        ("openat", f"{base}/a/first"),
        ("rename", f"{base}/a/first"),
        ("write", f"{base}/a/second"),
        ("unlink", f"{base}/a/second"),
        ("write", f"{base}/a/second (deleted)"),
        ("fsync", f"{base}/real"),
        ("openat", f"{base}/a/third"),
        ("write", f"{base}/a/third"),
    ]
    assert ran.calls("symlink")[0].path2 == "real"
    assert ran.calls("link")[0].path2 == str(stage.cwd / "z")
    assert {o.kind for o in ran.calls("mkdir", "fsync")} == {DIRECTORY}


def test_streams_and_sockets_have_names(stage: Stage) -> None:
    script = """
import os, socket, sys
os.write(1, b"out")
for family, address in ((socket.AF_INET, ("127.0.0.1", 1)), (socket.AF_INET6, ("::1", 1)), (socket.AF_UNIX, "./none")):
    s = socket.socket(family)
    try: s.connect(address)
    except OSError: pass
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(b"hello", ("127.0.0.1", 9))
r, w = os.pipe(); os.write(w, b"x")
"""
    ran = stage.run([sys.executable, "-c", script], record=Recorder(data=True))
    assert ran.code == 0, ran.output
    trace = ran.gate.trace
    assert [(o.data, o.kind) for o in trace if o.masked == "stdout" and o.call == "write"] == [(b"out", PIPE)]
    connects = [o.masked for o in trace if o.call == "connect"]
    assert connects == ["socket:inet:127.0.0.1:1", "socket:inet6:[::1]:1", "socket:unix:./none"]
    assert [o.masked for o in trace if o.call == "listen"] == ["socket:inet:127.0.0.1:0"]
    assert [(o.masked, o.size, o.kind) for o in trace if o.call == "sendto"] == [("socket:inet:127.0.0.1:9", 5, SOCKET)]
    assert [o.kind for o in trace if o.masked == "pipe:" and o.call == "write"] == [PIPE]


def test_frames_of_python_name_the_function_that_calls(stage: Stage) -> None:
    script = stage.cwd / "app.py"
    script.write_text("""import json, os
def save(path):
    with open(path, "w") as f:
        json.dump({"a": 1}, f)
        f.flush()
        os.fsync(f.fileno())
class Store:
    def put(self):
        save("d.json")
Store().put()
import tempfile
tempfile.NamedTemporaryFile(dir=".").close()
""")
    ran = stage.run([sys.executable, str(script)], record=Recorder(sites=True))
    (sync,) = ran.calls("fsync")
    assert sync.site == ("$CWD/app.py:save:6", "$CWD/app.py:Store.put:9", "$CWD/app.py:<module>:10")
    assert context_of(sync) == "save:$CWD/app.py"
    (made,) = [o for o in ran.calls("openat") if "/tmp" in o.masked]
    assert "tempfile.py" in made.site[0] and context_of(made) == "<module>:$CWD/app.py"


def test_a_reader_sees_the_state_exactly_before_each_operation(stage: Stage) -> None:
    sizes: list[int] = []

    def look(operation: object) -> None:
        if getattr(operation, "call", "") == "write" and getattr(operation, "masked", "") == "$CWD/f":
            sizes.append((stage.cwd / "f").stat().st_size)

    script = "import os\nfd = os.open('f', os.O_CREAT | os.O_WRONLY)\nfor _ in range(50): os.write(fd, b'12345')"
    stage.run([sys.executable, "-c", script], on_operation=look)
    assert sizes == list(range(0, 250, 5))


def test_names_that_are_no_text_and_pointers_that_lead_nowhere(stage: Stage) -> None:
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
open(b"bad\\xff\\xfename", "w").close()
for pointer in (0, 1, 2**47, 2**63, 2**64 - 1):
    assert libc.syscall(257, -100, ctypes.c_ulong(pointer), 0) == -1
    assert libc.syscall(1, 1, ctypes.c_ulong(pointer), ctypes.c_ulong(2**62)) in (-1, 0)
    libc.syscall(20, 1, ctypes.c_ulong(pointer), ctypes.c_ulong(5)); libc.syscall(42, 1, ctypes.c_ulong(pointer), 16)
    libc.syscall(46, 1, ctypes.c_ulong(pointer), 0); libc.syscall(437, -100, b"x", ctypes.c_ulong(pointer), 24)
try: os.open("y" * 5000, 0)
except OSError: pass
try: os.open("/" + "y/" * 2000, 0)
except OSError: pass
os.write(-5 & 0x7FFFFFFF, b"x") if 0 else libc.write(-5, b"x", 1)
print("alive")
"""
    ran = stage.run([sys.executable, "-c", script], record=Recorder(data=True, offsets=True, sites=True))
    assert ran.output.endswith(b"alive\n"), ran.output
    assert ran.calls("openat", path="$CWD/bad")[0].path.encode("utf-8", "surrogateescape").endswith(b"bad\xff\xfename")
    assert max(len(o.path) for o in ran.gate.trace) <= 4096 + len(str(stage.cwd)) + 1


@pytest.mark.needs("gcc")
def test_rings_are_refused_and_reported_and_shared_mappings_reported(stage: Stage) -> None:
    program = stage.c(r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    char params[120] = {0}; long ring = syscall(425, 4, params); printf("%ld %d\n", ring, errno == ENOSYS);
    int fd = open("mapped", O_RDWR | O_CREAT, 0600); ftruncate(fd, 4096);
    char *p = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); p[0] = 'x';
    mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0); mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    return 0; }
""")
    ran = stage.run([program])
    assert ran.output == b"-1 1\n"
    assert set(ran.gate.uncovered) == {"io_uring", str(stage.cwd / "mapped")}
    assert len([o for o in ran.gate.trace if o.call == "mmap"]) == 1
    assert set(stage.run([program], record=Recorder(roots=("/nowhere/",))).gate.uncovered) == set(ran.gate.uncovered)


@pytest.mark.needs("gcc")
def test_32_bit_calls_never_pass_unseen(stage: Stage) -> None:
    # The 32-bit entry can be used by 64-bit programs, where the kernel has it: write(1, "x", 1) and x32's write.
    program = stage.c(r"""
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    char *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x10, -1, 0);
    low[0] = 'x'; long result = 4;
    syscall(0x40000000 | 1, 1, low, 1);
    __asm__ volatile("int $0x80" : "+a"(result) : "b"(1L), "c"((long)low), "d"(1L) : "memory");
    return 0; }
""")
    ran = stage.run([program])
    if ran.code < 0:
        pytest.skip("this kernel has no 32-bit calls")
    assert program in ran.gate.uncovered and "system calls" in ran.gate.uncovered[program]


def test_an_event_loop_can_wait_for_it_with_other_things(stage: Stage) -> None:
    import select

    out, into = os.pipe()
    argv = ["sh", "-c", "echo a > x; sleep 0; echo b"]
    launched = launch(argv, gate_filter.compile(DEFAULT), cwd=str(stage.cwd), stdout=into)
    os.close(into)
    with Supervisor(launched.listener, record=Recorder(), gated=DEFAULT, mask=stage.mask) as gate:
        poll = select.poll()
        poll.register(out, select.POLLIN)
        gate.join(poll)
        output, rounds = b"", 0
        while not output:
            rounds += 1
            for descriptor, _ in gate.attend(10):
                assert descriptor == out
                output = os.read(out, 100)
        poll.unregister(out)
        collected = False

        def ended() -> bool:
            # Before Linux 6.11 the listener hears of the end of a process only when that is collected.
            nonlocal collected
            collected = collected or os.waitpid(launched.pid, os.WNOHANG)[0] != 0
            return gate.attend(0.01) == [] and gate.is_ended

        wait_for(ended)
        assert gate.attend(0) == []
    assert collected or os.waitpid(launched.pid, 0)
    os.close(out)
    assert output == b"b\n" and rounds < 10_000
    assert [o.call for o in gate.trace if o.masked == "$CWD/x"].count("write") == 1


def test_a_caller_that_dies_while_it_waits_does_no_harm(stage: Stage) -> None:
    script = """
import os, signal
for _ in range(30):
    child = os.fork()
    if child == 0:
        while True:
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY))
    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
print("done")
"""
    assert stage.run([sys.executable, "-c", script]).output == b"done\n"


def test_signals_do_not_shift_the_count(stage: Stage) -> None:
    script = """
import os, signal
signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
fd = os.open("f", os.O_CREAT | os.O_WRONLY)
for i in range(5000): os.pwrite(fd, b"x", i)
signal.setitimer(signal.ITIMER_REAL, 0)
"""
    ran = stage.run([sys.executable, "-c", script])
    assert ran.code == 0
    assert [o.offset for o in ran.calls("pwrite64")] == list(range(5000))


def test_only_what_lies_below_the_roots_is_kept(stage: Stage) -> None:
    record = Recorder(roots=(f"{stage.cwd}/",))
    ran = stage.run(["sh", "-c", "echo a > x; cat x"], record=record)
    assert ran.calls("write") and all(o.path.startswith((str(stage.cwd), "std")) for o in ran.gate.trace)
    assert [o.index for o in ran.gate.trace] == sorted(o.index for o in ran.gate.trace)


def test_the_number_of_operations_kept_is_bounded(stage: Stage) -> None:
    ran = stage.run(["sh", "-c", "echo a > x; cat x"], record=Recorder(limit=5))
    assert len(ran.gate.trace) == 5 and "trace" in ran.gate.uncovered


def test_thousands_of_processes_leave_no_open_files(stage: Stage) -> None:
    gc.collect()  # what other tests left open is closed at some time, and counts as ours until then
    before = len(os.listdir("/proc/self/fd"))
    ran = stage.run(["sh", "-c", "for i in $(seq 300); do echo $i > f$((i % 7)); cat f0 > /dev/null; done"])
    assert ran.code == 0
    assert len(ran.calls("write")) == 300
    assert len(os.listdir("/proc/self/fd")) <= before
    assert Path(stage.cwd, "f6").exists()


@pytest.mark.needs("gcc")
def test_an_exec_by_another_thread_and_vfork_are_followed(stage: Stage) -> None:
    program = stage.c(r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static void *work(void *unused) {
    int fd = open("thread", O_CREAT | O_WRONLY | O_CLOEXEC, 0600); write(fd, "t", 1);
    if (!vfork()) { execlp("sh", "sh", "-c", "echo v > vforked", (char *)0); }
    execlp("sh", "sh", "-c", "echo x > executed; echo y >> executed", (char *)0); return 0; }
int main(void) {
    pid_t child; char *argv[] = {"sh", "-c", "echo s > spawned", 0};
    posix_spawnp(&child, "sh", 0, 0, argv, environ); waitpid(child, 0, 0);
    pthread_t one; pthread_create(&one, 0, work, 0); pthread_join(one, 0); return 1; }
""")
    ran = stage.run([program], record=Recorder(data=True))
    assert ran.code == 0
    found = {(o.masked, o.data) for o in ran.calls("write")}
    assert found == {
        ("$CWD/thread", b"t"), ("$CWD/vforked", b"v\n"), ("$CWD/spawned", b"s\n"), ("$CWD/executed", b"x\n"),
        ("$CWD/executed", b"y\n"),
    }  # fmt: skip


def test_subprocesses_of_python_are_seen(stage: Stage) -> None:
    script = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "open('f', 'w').write('hello')"], check=True)
"""
    ran = stage.run([sys.executable, "-c", script], record=Recorder(data=True, sites=True))
    (write,) = ran.calls("write")
    assert write.data == b"hello" and write.site == ("<string>:<module>:1",)


def test_the_bytes_kept_are_bounded_in_all(stage: Stage) -> None:
    script = "import os\nfd = os.open('f', os.O_CREAT | os.O_WRONLY)\nfor _ in range(100): os.write(fd, b'x' * 1000)"
    ran = stage.run([sys.executable, "-c", script], record=Recorder(data=True, data_total_max=10_000))
    kept = sum(len(o.data) for o in ran.gate.trace)
    assert 10_000 <= kept < 12_000 and "data" in ran.gate.uncovered
    assert sum(o.size for o in ran.calls("write")) == 100_000


def test_a_number_that_was_not_open_gets_its_name_when_it_is(stage: Stage) -> None:
    script = """
import gc
import os
for _ in range(3):
    try: os.write(9, b"nothing")
    except OSError: pass
fd = os.open("f", os.O_CREAT | os.O_WRONLY)
import fcntl
assert fcntl.fcntl(fd, fcntl.F_DUPFD, 9) == 9
os.write(9, b"x")
"""
    ran = stage.run([sys.executable, "-c", script])
    assert [o.masked for o in ran.gate.trace if o.call == "write" and o.fd == 9] == ["", "", "", "$CWD/f"]


@pytest.mark.needs("gcc")
def test_calls_with_arguments_that_make_no_sense_are_survived(stage: Stage) -> None:
    # Nothing that changes the attributes of files: the program runs on the real ones.
    fuzzed = DEFAULT - calls.ATTRIBUTES - calls.PROCESSES - {"mknod", "mknodat", "chdir", "fchdir"}
    numbers = sorted(calls.numbers(fuzzed, os.uname().machine))
    program = stage.c(r"""
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static uint64_t state = 88172645463325252ull;
static uint64_t next(void) { state ^= state << 13; state ^= state >> 7; state ^= state << 17; return state; }
int main(void) {
    static long numbers[] = {""" + ", ".join(map(str, numbers)) + r"""};
    static unsigned char area[8192]; long count = sizeof numbers / sizeof *numbers;
    for (int i = 0; i < 6000; i++) {
        for (int k = 0; k < 64; k++) area[next() % sizeof area] = "abcx\0\1\377"[next() % 7];
        long a[6];
        for (int k = 0; k < 6; k++) switch (next() % 6) {
            case 0: a[k] = next() % 12 + 3; break;
            case 1: a[k] = -1 - (long)(next() % 200); break;
            case 2: a[k] = (long)(area + next() % sizeof area); break;
            case 3: a[k] = (long)next(); break;
            case 4: a[k] = 0; break;
            default: a[k] = (long)((uint64_t)area + 8192 - next() % 16); }
        long number = numbers[next() % count];
        if (number == SYS_close || number == SYS_close_range) a[0] = next() % 9 + 3, a[1] = a[0];
        syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]); }
    write(1, "alive\n", 6); return 0; }
""")
    record = Recorder(data=True, sites=True, offsets=True, data_max=4096)
    ran = stage.run([program], tamper("*", "$CWD/*", "@100+7 raise(OSError: EIO)"), record=record)
    assert ran.output.endswith(b"alive\n") and len(ran.gate.trace) > 4000
    assert all(o.size <= 2**63 - 1 and -(2**63) <= o.offset < 2**63 for o in ran.gate.trace)
    assert msgspec.json.decode(msgspec.json.encode(ran.gate.trace[:10])) is not None
