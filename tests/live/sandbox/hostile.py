"""A program that tries to get out of its sandbox by every door it knows, and says how far it got.

Runs inside; needs nothing but the standard library. argv[1] is JSON with the addresses of canaries outside.
Each door is a function; what it returns or raises is reported, but the judge is the host, compared before and after.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import sys
import time

T = json.loads(sys.argv[1])
L = ctypes.CDLL(None, use_errno=True)
L.syscall.restype = ctypes.c_long
ARM = platform.machine() == "aarch64"
NUMBERS = {
    "ptrace": (101, 117), "setns": (308, 268), "unshare": (272, 97), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semctl": (66, 191),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgctl": (71, 187), "add_key": (248, 217), "keyctl": (250, 219),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "reboot": (169, 142), "init_module": (175, 105), "finit_module": (313, 273),
    "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425), "swapon": (167, 224),
    "acct": (163, 89), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "prlimit64": (302, 261),
    "ioprio_set": (251, 30), "process_vm_writev": (311, 271), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "open_tree": (428, 428), "kcmp": (312, 272),
    "semget": (64, 190), "kexec_load": (246, 104), "syslog": (103, 116), "fanotify_init": (300, 262),
}  # fmt: skip
VICTIM = T["victim"]
OUT = os.path.dirname(VICTIM)
DOORS = []


def door(function):
    DOORS.append(function)
    return function


def call(name, *arguments):
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = L.syscall(ctypes.c_long(NUMBERS[name][ARM]), *converted)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()) + f" ({name})")
    return result


def each(*actions):
    """Try all of them; what each came to."""
    said = []
    for action in actions:
        try:
            said.append(f"done: {action()}")
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
    return said


def overwrite(path, flags=os.O_WRONLY):
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    try:
        return os.write(descriptor, b"escaped")
    finally:
        os.close(descriptor)


@door
def writing_through_a_mapping():
    def mapped():
        descriptor = os.open(VICTIM, os.O_RDWR)
        with mmap.mmap(descriptor, 4096) as memory:
            memory[:7] = b"escaped"
            memory.flush()

    def upgraded():
        descriptor = os.open(VICTIM, os.O_RDONLY)
        with mmap.mmap(descriptor, 4096, prot=mmap.PROT_READ) as memory:
            address = ctypes.addressof(ctypes.c_char.from_buffer_copy(memory[:1]))
            return L.mprotect(ctypes.c_void_p(address & ~4095), 4096, 3)

    return each(mapped, upgraded, lambda: overwrite(f"/proc/self/fd/{os.open(VICTIM, os.O_RDONLY)}"))


@door
def absolute_write():
    return each(lambda: overwrite(VICTIM), lambda: overwrite(VICTIM, os.O_RDWR | os.O_APPEND))


@door
def truncation():
    return each(lambda: os.truncate(VICTIM, 0), lambda: os.close(os.open(VICTIM, os.O_RDONLY | os.O_TRUNC)))


@door
def truncation_for_writing():
    return each(lambda: overwrite(VICTIM, os.O_WRONLY | os.O_TRUNC))


@door
def unlink_and_rename():
    return each(
        lambda: os.rename(f"{OUT}/renamed", f"{OUT}/renamed2"),
        lambda: os.unlink(f"{OUT}/removed"),
        lambda: os.rename(OUT, OUT + "2"),
        lambda: os.replace(f"{T['state']}/own", f"{OUT}/replaced"),
    )


@door
def new_entries():
    return each(
        lambda: os.mkdir(f"{OUT}/newdir"),
        lambda: os.symlink("/", f"{OUT}/newlink"),
        lambda: os.mkfifo(f"{OUT}/newfifo"),
        lambda: os.open(f"{OUT}/newfile", os.O_CREAT | os.O_WRONLY),
        lambda: os.open("/newfile-in-root", os.O_CREAT | os.O_WRONLY),
        lambda: os.open("/etc/newfile-in-etc", os.O_CREAT | os.O_WRONLY),
        lambda: os.open("/usr/newfile-in-usr", os.O_CREAT | os.O_WRONLY),
        lambda: os.open(OUT, os.O_TMPFILE | os.O_WRONLY),
        lambda: os.mkdir("/tmp/blackstart-escape-canary"),
    )


@door
def modes():
    descriptor = os.open(VICTIM, os.O_RDONLY)
    return each(
        lambda: os.chmod(VICTIM, 0o777),
        lambda: os.fchmod(descriptor, 0o777),
        lambda: os.chmod(f"/proc/self/fd/{descriptor}", 0o777),
        lambda: os.chmod(OUT, 0o777),
        lambda: os.chmod("/dev/null", 0o600),
    )


@door
def owners():
    descriptor = os.open(VICTIM, os.O_RDONLY)
    return each(
        lambda: os.chown(VICTIM, 1, 1),
        lambda: os.chown(VICTIM, os.getuid(), os.getgid()),
        lambda: os.fchown(descriptor, os.getuid(), os.getgid()),
        lambda: os.lchown(VICTIM, 0, 0),
        lambda: os.chown("/dev/null", 1, 1),
    )


@door
def times():
    descriptor = os.open(VICTIM, os.O_RDONLY)
    return each(
        lambda: os.utime(VICTIM, (1, 1)),
        lambda: os.utime(descriptor, (1, 1)),
        lambda: os.utime(VICTIM),
        lambda: os.utime(OUT, (1, 1)),
        lambda: os.utime("/dev/null"),
    )


@door
def attributes():
    descriptor = os.open(VICTIM, os.O_RDONLY)
    return each(
        lambda: os.setxattr(VICTIM, "user.escaped", b"1"),
        lambda: os.setxattr(descriptor, "user.escaped", b"1"),
        lambda: os.removexattr(VICTIM, "user.canary"),
        lambda: fcntl.ioctl(descriptor, 0x40086602, struct.pack("i", 0x10)),
    )


@door
def hard_links():
    def through():
        os.link(VICTIM, f"{T['state']}/hard")
        return overwrite(f"{T['state']}/hard")

    return each(through, lambda: os.link(f"{T['state']}/own", f"{OUT}/linked"))


@door
def through_proc_self():
    return each(
        lambda: overwrite("/proc/self/root" + VICTIM),
        lambda: overwrite("/proc/1/root" + VICTIM),
        lambda: overwrite("/proc/1/cwd" + VICTIM),
        lambda: os.listdir("/proc/1/fd") and overwrite("/proc/1/fd/3"),
        lambda: os.listdir("/proc/1/root/old"),
        lambda: overwrite("/proc/1/mem"),
    )


@door
def through_proc_of_others():
    tries = []
    for pid in T["pids"]:
        tries += [
            lambda pid=pid: overwrite(f"/proc/{pid}/root" + VICTIM),
            lambda pid=pid: overwrite(f"/proc/{pid}/cwd/" + os.path.basename(VICTIM)),
            lambda pid=pid: overwrite(f"/proc/{pid}/mem"),
            lambda pid=pid: overwrite(f"/proc/{pid}/oom_score_adj"),
            lambda pid=pid: overwrite(f"/proc/{pid}/fd/1"),
            lambda pid=pid: overwrite(f"/proc/{pid}/comm"),
            lambda pid=pid: overwrite(f"/proc/{pid}/clear_refs"),
        ]
    return each(*tries)


@door
def dots_and_chroot():
    def out_of_chroot():
        if os.fork() == 0:
            try:
                top = os.open("/", os.O_RDONLY)
                os.mkdir(f"{T['state']}/jail")
                os.chroot(f"{T['state']}/jail")
                os.fchdir(top)
                for _ in range(40):
                    os.chdir("..")
                overwrite("." + VICTIM)
                overwrite("./old" + VICTIM)
            finally:
                os._exit(0)
        return os.wait()

    return each(
        lambda: overwrite("../" * 40 + VICTIM),
        lambda: overwrite("../" * 40 + "old" + VICTIM),
        out_of_chroot,
    )


@door
def devices():
    names = "mem kmem port kmsg vda sda nvme0n1 loop0 loop-control fuse kvm net/tun tty1 console ttyS0 mapper/control"
    paths = [f"/dev/{name}" for name in names.split()]
    return each(*[lambda path=path: os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK)) for path in paths])


@door
def new_device_nodes():
    def open_made(name, kind, major, minor):
        path = f"{T['state']}/{name}"
        os.mknod(path, kind | 0o600, os.makedev(major, minor))
        return os.close(os.open(path, os.O_RDWR))

    return each(
        lambda: open_made("disk", 0o060000, 254, 0),
        lambda: open_made("memory", 0o020000, 1, 1),
        lambda: open_made("message", 0o020000, 1, 11),
    )


@door
def fifo_of_the_host():
    return each(
        lambda: overwrite(T["fifo"]),
        lambda: os.write(os.open(T["fifo"], os.O_RDWR | os.O_NONBLOCK), b"escaped"),
    )


@door
def unix_sockets_by_path():
    def connect(path, kind):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.settimeout(2)
            client.connect(path)
            return client.send(b"escaped")

    def message(path):
        with contextlib.ExitStack() as stack:
            pair = [stack.enter_context(s) for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)]
            return pair[0].sendto(b"escaped", path)

    def message_alone(path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            return client.sendmsg([b"escaped"], [], 0, path)

    return each(
        lambda: connect(T["unix"], socket.SOCK_STREAM),
        lambda: connect(T["unix_datagram"], socket.SOCK_DGRAM),
        lambda: message(T["unix_datagram"]),
        lambda: message_alone(T["unix_datagram"]),
        lambda: connect("/proc/self/root" + T["unix"], socket.SOCK_STREAM),
    )


@door
def abstract_sockets():
    def connect():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("\0" + T["abstract"])
            return client.send(b"escaped")

    return each(connect)


@door
def host_ports():
    def tcp(family, address):
        with socket.socket(family) as client:
            client.settimeout(2)
            client.connect(address)
            return client.send(b"escaped")

    def udp():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            return client.sendto(b"escaped", ("127.0.0.1", T["udp"]))

    def multipath():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as client:
            client.settimeout(2)
            client.connect(("127.0.0.1", T["tcp"]))
            return client.send(b"escaped")

    def fast_open():
        with socket.socket(socket.AF_INET) as client:
            client.settimeout(2)
            return client.sendto(b"escaped", 0x20000000, ("127.0.0.1", T["tcp"]))

    return each(lambda: tcp(socket.AF_INET, ("127.0.0.1", T["tcp"])), udp, multipath, fast_open)


@door
def listening_on_the_host():
    def serve(family, address):
        with socket.socket(family) as server:
            server.bind(address)
            server.listen()
            return server.getsockname()

    def raw():
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packets:
            packets.bind(("lo", 0))
            return packets.send(b"\0" * 60)

    return each(lambda: serve(socket.AF_INET, ("0.0.0.0", 0)), lambda: serve(socket.AF_INET6, ("::", 0)), raw)


@door
def signals():
    tries = [lambda pid=pid: os.kill(pid, signal.SIGTERM) for pid in T["pids"]]
    tries += [lambda pid=pid: os.killpg(pid, signal.SIGTERM) for pid in T["pids"]]
    tries += [lambda pid=pid: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGTERM) for pid in T["pids"]]
    return each(*tries)


@door
def tracing():
    tries = []
    for pid in T["pids"]:
        tries += [
            lambda pid=pid: call("ptrace", 16, pid, 0, 0),
            lambda pid=pid: call("ptrace", 0x4206, pid, 0, 0),
            lambda pid=pid: call("pidfd_getfd", os.pidfd_open(pid), 1, 0),
            lambda pid=pid: call("kcmp", os.getpid(), pid, 0, 0, 0),
        ]
    tries.append(lambda: call("ptrace", 0x4206, 1, 0, 0))
    return each(*tries)


@door
def memory_of_others():
    buffer = ctypes.create_string_buffer(b"escaped")
    local = struct.pack("=QQ", ctypes.addressof(buffer), 7)
    remote = struct.pack("=QQ", T["address"], 7)
    return each(*[lambda pid=pid: call("process_vm_writev", pid, local, 1, remote, 1, 0) for pid in T["pids"]])


@door
def scheduling_of_others():
    tries = []
    for pid in T["pids"]:
        tries += [
            lambda pid=pid: call("prlimit64", pid, resource.RLIMIT_NOFILE, struct.pack("=QQ", 64, 64), None),
            lambda pid=pid: os.setpriority(os.PRIO_PROCESS, pid, 15),
            lambda pid=pid: os.sched_setaffinity(pid, {0}),
            lambda pid=pid: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)),
            lambda pid=pid: call("ioprio_set", 1, pid, 3 << 13),
        ]
    tries.append(lambda: os.setpriority(os.PRIO_USER, os.getuid(), 14))
    tries.append(lambda: call("ioprio_set", 3, os.getuid(), 3 << 13))
    return each(*tries)


@door
def system_v_shared_memory():
    def write(identifier):
        L.shmat.restype = ctypes.c_void_p
        address = L.shmat(identifier, None, 0)
        if address in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "shmat")
        ctypes.memmove(address, b"escaped", 7)

    return each(
        lambda: write(T["shm_id"]),
        lambda: write(call("shmget", T["shm_key"], 0, 0)),
        lambda: call("shmctl", T["shm_id"], 0, None),
        lambda: call("shmget", 0x6273_0099, 4096, 0o1666),
        lambda: call("semctl", T["sem_id"], 0, 0, 0),
        lambda: call("semget", 0x6273_0098, 1, 0o1666),
        lambda: call("msgsnd", T["msg_id"], struct.pack("l", 1) + b"escaped\0", 7, 0o4000),
        lambda: call("msgctl", T["msg_id"], 0, None),
        lambda: call("msgget", 0x6273_0097, 0o1666),
    )


@door
def posix_shared_memory():
    return each(
        lambda: overwrite("/dev/shm/" + T["shm_name"]),
        lambda: os.unlink("/dev/shm/" + T["shm_name"]),
        lambda: overwrite("/dev/shm/" + T["shm_name"] + "-new", os.O_WRONLY | os.O_CREAT),
    )


@door
def message_queues():
    name = T["mq_name"].encode()

    def send():
        queue = call("mq_open", name, os.O_RDWR | os.O_NONBLOCK, 0, None)
        return call("mq_timedsend", queue, b"escaped", 7, 0, None)

    return each(
        send,
        lambda: call("mq_unlink", name),
        lambda: call("mq_open", name + b"-new", os.O_RDWR | os.O_CREAT, 0o600, None),
    )


@door
def keyrings():
    return each(
        lambda: call("add_key", b"user", b"blackstart-escape", b"x", 1, -4),
        lambda: call("add_key", b"user", b"blackstart-escape", b"x", 1, -5),
        lambda: call("keyctl", 9, T["key"], -4, 0, 0),
        lambda: call("keyctl", 2, T["key"], b"changed", 7, 0),
        lambda: call("keyctl", 3, T["key"], 0, 0, 0),
        lambda: call("keyctl", 21, T["key"], 0, 0, 0),
    )


@door
def kernel_settings():
    def swap(path, value):
        with open(path) as file:
            old = file.read()
        with open(path, "w") as file:
            file.write(value)
        return old

    return each(
        lambda: swap("/proc/sys/kernel/core_pattern", "|/bin/false escaped\n"),
        lambda: swap("/proc/sys/kernel/hostname", "escaped\n"),
        lambda: swap("/proc/sys/kernel/domainname", "escaped\n"),
        lambda: swap("/proc/sys/kernel/pid_max", "32769\n"),
        lambda: swap("/proc/sys/kernel/randomize_va_space", "1\n"),
        lambda: swap("/proc/sys/kernel/shmmax", "12345678\n"),
        lambda: swap("/proc/sys/vm/swappiness", "61\n"),
        lambda: swap("/proc/sys/fs/file-max", "12345678\n"),
        lambda: swap("/proc/sys/fs/mqueue/queues_max", "257\n"),
        lambda: swap("/proc/sys/net/ipv4/ip_forward", "1\n"),
        lambda: swap("/proc/sys/net/ipv4/ip_default_ttl", "65\n"),
        lambda: swap("/proc/sys/kernel/modprobe", "/bin/false\n"),
        lambda: swap("/proc/sys/user/max_user_namespaces", "4242\n"),
        lambda: swap("/proc/sys/kernel/ns_last_pid", "4242\n"),
        lambda: swap("/proc/sys/kernel/printk", "4 4 1 7\n"),
    )


@door
def other_kernel_files():
    return each(
        lambda: os.open("/proc/sysrq-trigger", os.O_WRONLY),
        lambda: os.open("/proc/irq/default_smp_affinity", os.O_WRONLY),
        lambda: os.open("/proc/mtrr", os.O_WRONLY),
        lambda: os.open("/proc/kcore", os.O_RDONLY),
        lambda: os.open("/proc/bus/pci/00/00.0", os.O_RDWR),
        lambda: os.open("/proc/fs/ext4/vda/options", os.O_WRONLY),
        lambda: os.chmod("/proc/sys/kernel/core_pattern", 0o666),
        lambda: os.chmod("/proc/uptime", 0o600),
    )


@door
def sysfs():
    names = ["kernel/mm/transparent_hugepage/defrag", "kernel/mm/ksm/run", "power/state", "kernel/uevent_helper"]
    return each(*[lambda name=name: os.close(os.open(f"/sys/{name}", os.O_WRONLY)) for name in names])


@door
def control_groups():
    found = []
    for top, directories, files in os.walk("/sys/fs/cgroup"):
        found += [f"{top}/{name}" for name in files if name in ("cgroup.procs", "tasks", "notify_on_release")][:1]
        if len(found) > 5 or top.count("/") > 6:
            directories.clear()
    return each(
        lambda: os.mkdir("/sys/fs/cgroup/escaped"),
        lambda: os.mkdir("/sys/fs/cgroup/pids/escaped"),
        *[lambda path=path: overwrite(path) for path in found],
    )


@door
def mounting():
    return each(
        lambda: call("mount", b"none", OUT.encode(), b"tmpfs", 0, None),
        lambda: call("mount", b"/", T["state"].encode(), None, 4096, None),
        lambda: call("mount", b"none", b"/proc/sys", None, 32 | 4096, None),
        lambda: call("mount", b"none", b"/", None, (1 << 20) | 16384, None),
        lambda: call("umount2", b"/proc/sys", 2),
        lambda: call("umount2", T["state"].encode(), 2),
        lambda: call("umount2", b"/", 2),
        lambda: call("pivot_root", b".", b"."),
        lambda: call("mount_setattr", -100, b"/proc/sys", 0, struct.pack("=QQQQ", 0, 1, 0, 0), 32),
        lambda: call("open_tree", -100, b"/", 1),
    )


@door
def entering_namespaces():
    kinds = "user mnt pid net ipc uts cgroup time".split()
    tries = []
    for pid in [*T["pids"], 1]:
        for kind in kinds:
            path = f"/proc/{pid}/ns/{kind}"
            tries.append(lambda path=path: call("setns", os.open(path, os.O_RDONLY), 0))
        tries.append(lambda pid=pid: call("setns", os.pidfd_open(pid), 0x20000 | 0x10000000))
    return each(*tries)


@door
def namespaces_inside():
    def deeper(flags, then):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            said = b"done"
            try:
                call("unshare", flags)
                then()
            except Exception as error:
                said = str(error).encode()
            os.write(writing, said)
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        return os.read(reading, 1000).decode()

    def over_everything():
        os.mkdir(f"{T['state']}/group")
        call("mount", b"g", f"{T['state']}/group".encode(), b"cgroup2", 0, None)
        os.mkdir(f"{T['state']}/group/escaped")

    def processes():
        os.mkdir(f"{T['state']}/processes")
        call("mount", b"p", f"{T['state']}/processes".encode(), b"proc", 0, None)
        overwrite(f"{T['state']}/processes/sys/kernel/core_pattern")

    return each(
        lambda: deeper(0x10000000 | 0x20000, lambda: call("mount", b"n", OUT.encode(), b"tmpfs", 0, None)),
        lambda: deeper(0x10000000 | 0x20000 | 0x02000000, over_everything),
        lambda: deeper(0x10000000 | 0x20000 | 0x20000000, processes),
        lambda: deeper(0x10000000 | 0x20000, lambda: call("umount2", b"/proc/sys", 2)),
        lambda: deeper(0x20000, lambda: None),
        lambda: deeper(0x40000000, lambda: None),
    )


@door
def clocks():
    when = struct.pack("qq", 1_000_000_000, 0)
    # struct timex: modes first; ADJ_TICK (0x4000) with a tick of its own.
    tick = bytearray(208)
    struct.pack_into("I", tick, 0, 0x4000)
    struct.pack_into("q", tick, 88, 10001)
    return each(
        lambda: call("clock_settime", 0, when),
        lambda: call("adjtimex", bytes(tick)),
        lambda: os.open("/dev/rtc0", os.O_RDONLY),
    )


@door
def terminal_injection():
    said = []
    for descriptor in range(0, 16):
        said += each(lambda descriptor=descriptor: fcntl.ioctl(descriptor, 0x5412, b"x"))
    tries = [lambda: fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), 0x5412, b"x")]
    for name in (*T["terminals"], "/dev/pts/0", "/dev/pts/1"):
        tries.append(lambda name=name: overwrite(name, os.O_RDWR | os.O_NOCTTY))
        tries.append(lambda name=name: fcntl.ioctl(os.open(name, os.O_RDWR), 0x5412, b"x"))
    return said + each(*tries)


@door
def inherited_descriptors():
    said = []
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        number = int(name)
        with contextlib.suppress(OSError):
            said.append(f"{number}: {os.readlink(f'/proc/self/fd/{number}')}")
    for number in range(3, 1100):
        with contextlib.suppress(OSError):
            os.write(number, b"escaped")
    return said


@door
def standard_streams():
    """Whoever started us opened these outside, on mounts of the host."""
    tries = []
    for number in (0, 1, 2):
        mode = os.fstat(number).st_mode & 0o777
        tries += [
            lambda number=number, mode=mode: os.fchmod(number, mode),
            lambda number=number: os.fchown(number, os.getuid(), os.getgid()),
            lambda number=number: os.utime(number, (1, 1)),
            lambda number=number: os.setxattr(number, "user.escaped", b"1"),
        ]
    tries.append(lambda: overwrite("/proc/self/fd/0", os.O_RDWR))
    tries.append(lambda: os.chmod("/proc/self/fd/0", 0o777))
    return each(*tries)


@door
def own_session():
    return {"leader": os.getsid(0) == os.getpid(), "group": os.getpgrp() == os.getpid()}


@door
def names_of_the_machine():
    return each(lambda: socket.sethostname("escaped"), lambda: L.setdomainname(b"escaped", 7))


@door
def machine_control():
    return each(
        lambda: call("reboot", 0xFEE1DEAD, 672274793, 0x00000000, None),
        lambda: call("init_module", b"garbage", 7, b""),
        lambda: call("kexec_load", 0, 0, None, 0),
        lambda: call("swapon", f"{T['state']}/own".encode(), 0),
        lambda: call("acct", f"{T['state']}/own".encode()),
        lambda: call("fanotify_init", 0x4, os.O_RDONLY),
        lambda: L.iopl(3) if not ARM else None,
    )


@door
def programs_in_the_kernel():
    def ring():
        parameters = ctypes.create_string_buffer(120)
        return call("io_uring_setup", 4, parameters)

    return each(
        lambda: call("bpf", 0, struct.pack("=IIII", 2, 4, 4, 1) + bytes(56), 72),
        lambda: call("perf_event_open", struct.pack("=II", 1, 112) + bytes(104), T["pids"][0], -1, -1, 0),
        ring,
    )


@door
def file_handles():
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
    number = ctypes.c_int()

    def through():
        call("name_to_handle_at", -100, VICTIM.encode(), handle, ctypes.byref(number), 0)
        top = os.open("/", os.O_RDONLY)
        return os.write(call("open_by_handle_at", top, handle, os.O_WRONLY), b"escaped")

    def root_inode():
        struct.pack_into("=IiII", handle, 0, 8, 1, 2, 0)
        top = os.open("/etc/hostname", os.O_RDONLY)
        return os.listdir(call("open_by_handle_at", top, handle, os.O_RDONLY | os.O_DIRECTORY))

    return each(through, root_inode)


@door
def becoming_somebody_else():
    return each(
        lambda: os.setuid(0) if os.getuid() else os.setgroups([6, 9]),
        lambda: os.spawnv(os.P_WAIT, "/bin/su", ["su", "nobody", "-s", "/bin/true"]),
        lambda: L.prctl(8, 1, 0, 0, 0),
    )


@door
def mounts_below():
    return each(*[
        action
        for path in T["submounts"]
        for action in (
            lambda path=path: overwrite(path + "/escaped", os.O_WRONLY | os.O_CREAT),
            lambda path=path: os.chmod(path, 0o777),
        )
    ])  # fmt: skip


@door
def links_for_the_keeper():
    """Links and odd things left in the state for whoever reads it from outside."""
    return each(
        lambda: os.symlink(VICTIM, f"{T['state']}/trap"),
        lambda: os.symlink(OUT, f"{T['state']}/trap-directory"),
        lambda: os.symlink("/old" + VICTIM, f"{T['state']}/trap-old"),
        lambda: os.mkfifo(f"{T['state']}/trap-fifo"),
        lambda: os.open(T["state"].encode() + b"/trap-\xff\n:,\\", os.O_CREAT | os.O_WRONLY),
        lambda: os.symlink(OUT, "/tmp/trap-directory"),
        lambda: os.mkdir(f"{T['state']}/closed", 0),
    )


@door
def flight():
    """Children that detach, ignore signals and try to outlive everything."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in range(1, 32):
                    with contextlib.suppress(OSError, ValueError):
                        signal.signal(number, signal.SIG_IGN)
                os.environ["x"] = "y"
                for number in (0, 1, 2):
                    with contextlib.suppress(OSError):
                        os.close(number)
                while True:
                    time.sleep(1000)
            os._exit(0)
    for _ in range(3):
        os.wait()
    return "left running"


def main():
    report = {}
    with open(f"{T['state']}/own", "w") as own:
        own.write("mine")
    for function in DOORS:
        signal.alarm(20)
        try:
            report[function.__name__] = function()
        except OSError as error:
            report[function.__name__] = f"{errno.errorcode.get(error.errno, error.errno)}: {error}"
        except Exception as error:
            report[function.__name__] = f"{type(error).__name__}: {error}"
    signal.alarm(0)
    with open(f"{T['state']}/report", "w") as file:
        json.dump(report, file, default=repr, indent=1)
    os.write(1, b"tried all\n")


main()
