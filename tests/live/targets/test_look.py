"""What is read of real processes that wait: the call, its object, and when the wait ends by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blackstart.targets import Look, look

pytestmark = pytest.mark.live
WITHIN_S = 20.0


@contextmanager
def waiting(script: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that says `ready` and then waits."""
    code = f"import os, sys, time, socket, select, threading, fcntl\n{script}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": "/bin"}
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait(WITHIN_S)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def look_until(process: subprocess.Popen[bytes], *calls: str) -> Look:
    """The first look at which its first thread waits in one of these calls."""
    deadline_s = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline_s:
        seen = look([process.pid], 0.0)
        if seen.threads and seen.threads[0].state in "SD" and seen.threads[0].call in calls:
            return seen
    raise AssertionError(f"never seen in {calls}: {look([process.pid], 0.0)}")


READY = "print('ready', flush=True)\n"


@pytest.mark.parametrize(
    ("script", "calls", "limit_s"),
    [
        ("time.sleep(50)", ("clock_nanosleep",), 50),
        ("threading.Event().wait(40)", ("futex",), 40),
        ("threading.Event().wait()", ("futex",), None),
        ("select.select([0], [], [], 30)", ("select", "pselect6"), 30),
        ("select.poll().poll(20000)", ("poll", "ppoll"), 20),
        ("p = select.epoll(); p.register(0); p.poll()", ("epoll_wait", "epoll_pwait"), None),
        ("os.read(0, 1)", ("read",), None),
        ("os.read(os.pipe()[0], 1)", ("read",), None),
    ],
)
def test_the_limit_of_a_wait_is_read(
    script: str, calls: tuple[str, ...], limit_s: float | None, tmp_path: Path
) -> None:
    with waiting(READY + script, tmp_path) as process:
        seen = look_until(process, *calls)
        if limit_s is None:
            assert seen.threads[0].limit_s is None
        else:
            assert seen.threads[0].limit_s is not None
            assert limit_s - WITHIN_S < seen.threads[0].limit_s <= limit_s


# FUTEX_WAIT with a relative limit, as Go's runtime waits; Python, as the C library does, waits until a moment.
RAW = """
import ctypes, platform
number = {{"x86_64": 202, "aarch64": 98}}[platform.machine()]
word, limit = ctypes.c_int(0), (ctypes.c_long * 2)({}, 0)
ctypes.CDLL(None).syscall(number, ctypes.byref(word), 0, 0, ctypes.byref(limit), None, 0)
"""


@pytest.mark.parametrize(
    ("script", "is_monitor"),
    [(RAW.format(60), True), (RAW.format(50), False), ("threading.Event().wait(60)", False)],
    ids=["60 s", "50 s", "until a moment"],
)
def test_a_runtimes_monitor_is_told_from_a_wait_of_its_length(script: str, is_monitor: bool, tmp_path: Path) -> None:
    with waiting(READY + script, tmp_path) as process:
        assert look_until(process, "futex").threads[0].is_monitor is is_monitor


def test_a_lock_is_named_by_its_file(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as held:
        import fcntl

        fcntl.flock(held, fcntl.LOCK_EX)
        with waiting(READY + "fcntl.flock(open('lock'), fcntl.LOCK_EX)", tmp_path) as process:
            seen = look_until(process, "flock")
    assert seen.threads[0].path == str(tmp_path / "lock")
    assert seen.threads[0].limit_s is None


def test_opening_a_fifo_that_nobody_writes_has_no_limit(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with waiting(READY + "open('fifo')", tmp_path) as process:
        assert look_until(process, "openat", "open").threads[0].limit_s is None


def test_the_time_limit_of_a_socket_is_read(tmp_path: Path) -> None:
    script = """
import struct
a, b = socket.socketpair()
a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 25, 500000))
"""
    with waiting(f"{script}\n{READY}a.recv(1)", tmp_path) as process:
        assert look_until(process, "recvfrom", "read").threads[0].limit_s == 25.5


@pytest.mark.parametrize(
    ("options", "limit_s"),
    [
        ("", None),
        ("TCP_KEEPIDLE=40 TCP_KEEPINTVL=10 TCP_KEEPCNT=5", 90.0),
        ("TCP_KEEPIDLE=3 TCP_USER_TIMEOUT=9000", 78.0),
        ("TCP_KEEPIDLE=3 TCP_KEEPINTVL=1 TCP_KEEPCNT=2", 5.0),
        ("TCP_KEEPIDLE=3 TCP_KEEPINTVL=1 TCP_USER_TIMEOUT=9000", 9.0),
    ],
)
def test_a_connection_that_is_kept_alive_has_a_limit(options: str, limit_s: float | None, tmp_path: Path) -> None:
    script = f"""
server = socket.create_server(('127.0.0.1', 0))
a = socket.create_connection(server.getsockname())
a.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
for option in {options!r}.split():
    name, _, value = option.partition('=')
    a.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), int(value))
"""
    with waiting(f"{script}\n{READY}a.recv(1)", tmp_path) as process:
        seen = look_until(process, "recvfrom", "read").threads[0]
    assert (seen.limit_s, seen.is_kept) == (limit_s, limit_s is not None)


UNANSWERED = """
full = socket.socket()
full.bind(('127.0.0.1', 0))
full.listen(0)
first = socket.create_connection(full.getsockname())
a = socket.socket()
a.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 3)
"""


@pytest.mark.parametrize("option", ["", "a.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 7000)"])
def test_a_connect_without_an_answer_ends_when_the_kernel_has_tried_often_enough(option: str, tmp_path: Path) -> None:
    """After 1 s, 2 s, 4 s and 8 s where three more SYN are sent; sooner where no more time is given."""
    with waiting(f"{UNANSWERED}{option}\n{READY}a.connect(full.getsockname())", tmp_path) as process:
        seen = look_until(process, "connect").threads[0]
    assert (seen.limit_s, seen.is_kept) == (7.0 if option else 15.0, False)


def test_an_event_loop_that_connects_is_limited_by_that(tmp_path: Path) -> None:
    script = (
        "a.setblocking(False); a.connect_ex(full.getsockname())\np = select.epoll(); p.register(a, select.EPOLLOUT)"
    )
    with waiting(f"{UNANSWERED}{script}\n{READY}p.poll()", tmp_path) as process:
        assert look_until(process, "epoll_wait", "epoll_pwait").threads[0].limit_s == 15.0


@pytest.mark.parametrize("kept", [True, False])
def test_who_waits_again_and_again_is_seen_to_be_kept_alive_too(kept: bool, tmp_path: Path) -> None:
    script = f"""
server = socket.create_server(('127.0.0.1', 0))
a = socket.create_connection(server.getsockname())
a.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, {kept})
a.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
a.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
p = select.epoll(); p.register(a, select.EPOLLIN)
"""
    with waiting(f"{script}\n{READY}while not p.poll(40): pass", tmp_path) as process:
        seen = look_until(process, "epoll_wait", "epoll_pwait").threads[0]
    assert seen.is_kept is kept and seen.limit_s is not None and 20 < seen.limit_s <= 40


@pytest.mark.parametrize("owes", [True, False])
def test_a_time_for_what_was_sent_counts_only_while_that_has_no_answer(owes: bool, tmp_path: Path) -> None:
    """In a network of its own, so that the loopback can be taken down: what is sent then has no answer."""
    script = f"""
import ctypes, struct
assert ctypes.CDLL(None).unshare(0x50000000) == 0  # CLONE_NEWUSER | CLONE_NEWNET
def loopback(flags):
    with socket.socket() as any:
        fcntl.ioctl(any, 0x8914, struct.pack('16sH14x', b'lo', flags))  # SIOCSIFFLAGS
loopback(1)
server = socket.create_server(('127.0.0.1', 0))
a = socket.create_connection(server.getsockname())
a.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45000)
loopback({int(not owes)})
a.send(b'x')
"""
    with waiting(f"{script}\n{READY}a.recv(1)", tmp_path) as process:
        deadline_s = time.monotonic() + WITHIN_S
        while look_until(process, "recvfrom", "read").threads[0].limit_s != (45.0 if owes else None):
            assert time.monotonic() < deadline_s  # the answer of the kernel may take a moment


@pytest.mark.parametrize(("kept", "limit_s"), [(True, 90.0), (False, None)])
def test_who_waits_for_many_is_limited_by_the_first_connection_that_tcp_gives_up(
    kept: bool, limit_s: float | None, tmp_path: Path
) -> None:
    """As an event loop waits: for ever, as far as its own call tells. What listens is kept alive by nobody."""
    script = f"""
server = socket.create_server(('127.0.0.1', 0))
server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
both = [socket.create_connection(server.getsockname()) for _ in range(2)]
for a, idle in zip(both, (200, 40)) if {kept} else ():
    a.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (('TCP_KEEPIDLE', idle), ('TCP_KEEPINTVL', 10), ('TCP_KEEPCNT', 5)):
        a.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
p = select.epoll(); [p.register(a, select.EPOLLIN) for a in both]
"""
    with waiting(f"{script}\n{READY}p.poll()", tmp_path) as process:
        assert look_until(process, "epoll_wait", "epoll_pwait").threads[0].limit_s == limit_s


def test_an_armed_timer_among_the_descriptors_is_a_limit(tmp_path: Path) -> None:
    script = """
import ctypes, struct
libc = ctypes.CDLL(None)
timer = libc.timerfd_create(1, 0)
libc.timerfd_settime(timer, 0, struct.pack('qqqq', 0, 0, 35, 0), None)
p = select.epoll(); p.register(timer, select.EPOLLIN)
"""
    with waiting(f"{script}\n{READY}p.poll()", tmp_path) as process:
        limit_s = look_until(process, "epoll_wait", "epoll_pwait").threads[0].limit_s
    assert limit_s is not None
    assert 35 - WITHIN_S < limit_s <= 35


def test_only_writes_that_succeed_are_progress(tmp_path: Path) -> None:
    """Two processes: one writes to /dev/null, one to a full device; each says so when it is done."""
    scripts = {
        "done": "f = os.open('/dev/null', os.O_WRONLY)\nfor _ in range(1000): os.write(f, b'x' * 100)\n",
        "failed": "f = os.open('/dev/full', os.O_WRONLY)\nfor _ in range(1000):\n"
        "    try: os.write(f, b'x' * 100)\n    except OSError: pass\n",
    }
    written = {}
    for name, script in scripts.items():
        with waiting(f"{script}{READY}os.read(0, 1)", tmp_path) as process:
            written[name] = look_until(process, "read").written_bytes
    assert written["done"] >= 100_000
    assert written["failed"] < 10_000


def test_processor_time_of_ended_children_counts(tmp_path: Path) -> None:
    child = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    script = f"import subprocess\nsubprocess.run([sys.executable, '-c', {child!r}])\n"
    with waiting(f"{script}{READY}os.read(0, 1)", tmp_path) as process:
        assert look_until(process, "read").cpu_s >= 0.3


def test_processes_that_are_gone_are_left_out() -> None:
    process = subprocess.Popen([sys.executable, "-c", "0"])
    process.wait(WITHIN_S)
    assert look([process.pid], 1.0) == Look(at_s=1.0, cpu_s=0.0, threads=())
