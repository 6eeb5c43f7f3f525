"""The last steps before the target's program: a process that gives everything away, then becomes it.

It has its own session without a terminal, three given descriptors and no other, default signals, no way to gain
privileges, and where it is user 0 only those capabilities that act on what belongs to the sandbox.
The listener of the gate leaves through the control descriptor, which the filter lets pass; a failure to start is
reported there too, and that descriptor's end means that the program runs.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import resource
import signal
import socket
from typing import Any, NoReturn

from blackstart.sandbox import kernel, landlock, wire

# The gate's filter lets `sendmsg` on this descriptor pass.
CONTROL_DESCRIPTOR = 1021

# The interpreter ignores them. All others have had their default action since `default_signals` ran in the helper, or
# a handler, which ends with the exec.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)

# What user 0 keeps: power over files, ports and processes of the sandbox. Everything else acts on the machine.
KEPT = frozenset(
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap net_bind_service "
    "net_broadcast net_raw ipc_lock ipc_owner sys_chroot sys_nice lease audit_write setfcap".split()
)
# What is left where there are no namespaces: to read, and to write what Landlock lets it write.
KEPT_OUTSIDE = frozenset(("dac_override", "dac_read_search"))
# Devices that a standard stream may be; they are opened inside, where their inode cannot be changed.
DEVICES = {os.makedev(1, n): name for n, name in ((3, "null"), (5, "zero"), (7, "full"), (8, "random"), (9, "urandom"))}
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def default_signals() -> None:
    """Default action for every signal, also those that whoever started us ignored; inherited by all forks."""
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP, *_IGNORED):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)


def renounce() -> None:
    """What no program started from here may have; inherited by all forks, and so done once, in the helper."""
    kernel.no_address_randomization()
    kernel.prctl(kernel.NO_NEW_PRIVS, 1)
    with contextlib.suppress(OSError):
        kernel.clear_ambient_capabilities()
    if os.geteuid() == 0:
        kernel.drop_from_bounding_set(c for c in kernel.CAPABILITIES if c not in KEPT)


def settle() -> None:
    """What does not depend on the order, and so can be done before it comes."""
    os.setsid()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def launch(order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Become the program of the order, after `settle`.

    descriptors: those of the standard streams that are not devices, then the control descriptor.
    """
    control: socket.socket | None = None
    try:
        control = _take_over(order["streams"], descriptors)
        control.sendmsg([b"p"])  # the kernel adds this process's id as the receiver sees it
        os.umask(order["umask"])
        if order.get("uptime_s"):
            _move_monotonic(order["uptime_s"])
        _give_up_privileges(order)
        os.chdir(wire.raw(order["cwd"]))
        program = _find(order)
        environment = {wire.raw(k): wire.raw(v) for k, v in order["env"].items()}
        arguments = [wire.raw(a) for a in order["argv"]]
        _restore_limits(order)
        if order.get("filter"):
            listener = kernel.install_listening_filter(bytes.fromhex(order["filter"]))
            control.sendmsg([b"L"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
        os.execve(program, arguments, environment)
    except OSError as error:
        _report(control, error.errno or 0, str(error.strerror))
    except BaseException as error:
        _report(control, 0, f"{type(error).__name__}: {error}")
    os._exit(127)


def _report(control: socket.socket | None, number: int, what: str) -> None:
    """Tell whoever gave the order; where it has gone on, because the exec waited in the gate, whoever reads stderr."""
    if control is None:
        return
    try:
        control.sendmsg([b"E" + f"{number}:{what}".encode("utf-8", "replace")], [], socket.MSG_NOSIGNAL)
    except OSError:
        with contextlib.suppress(OSError):
            os.write(2, f"cannot be executed: {what}\n".encode("utf-8", "replace"))


def _take_over(streams: list[str], descriptors: list[int]) -> socket.socket:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft <= CONTROL_DESCRIPTOR:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, CONTROL_DESCRIPTOR + 3), hard))
    *given, control = descriptors
    os.dup2(control, CONTROL_DESCRIPTOR, inheritable=False)
    opened = [os.open(f"/dev/{name}", os.O_RDWR | os.O_CLOEXEC) if name else given.pop(0) for name in streams]
    high = [_above_standard(d) for d in opened]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, number, inheritable=True)
    os.closerange(3, CONTROL_DESCRIPTOR)
    os.closerange(CONTROL_DESCRIPTOR + 1, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 16))
    return socket.socket(fileno=CONTROL_DESCRIPTOR)


def _above_standard(descriptor: int) -> int:
    return descriptor if descriptor > 2 else os.dup(os.dup(os.dup(descriptor)))


def _restore_limits(order: dict[str, Any]) -> None:
    """Limits last: they may be too small for this interpreter.

    A core limit of 1 stops both core files and the machine's own handler of crashes, which runs outside (0 would
    not stop the handler).
    """
    for name, value in order["limits"].items():
        which = getattr(resource, "RLIMIT_" + name.upper())
        _, hard = resource.getrlimit(which)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (bound, bound))
    if "nofile" not in order["limits"] and order["nofile"]:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(order["nofile"], hard), hard))
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def _move_monotonic(ahead_s: int) -> None:
    """In the time namespace that the program will be in, the clocks that count from the machine's start are ahead."""
    kernel.unshare(kernel.NEWTIME)
    kernel.write_setting("/proc/self/timens_offsets", f"monotonic {ahead_s} 0\nboottime {ahead_s} 0\n".encode())


def _give_up_privileges(order: dict[str, Any]) -> None:
    if order["writable"]:
        kernel.die_with_parent()
        landlock.confine(order["writable"])
    if os.geteuid() != 0:
        kernel.set_capabilities(())
        return
    refused = {name.removeprefix("cap_") for name in map(str.lower, order["drop"])}
    allowed = KEPT_OUTSIDE if order["writable"] else KEPT
    kept = [c for c in kernel.CAPABILITIES if c in allowed and c not in refused]
    kernel.drop_from_bounding_set(c for c in KEPT if c not in kept)
    kernel.set_capabilities(kernel.permitted() & set(kept))


def _find(order: dict[str, Any]) -> bytes:
    """The program's path, as execvp would find it; raises what it would raise.

    What can be known before is told now: once the filter is there, the exec waits for the gate.
    """
    name = wire.raw(order["argv"][0])
    if b"/" in name:
        os.stat(name)
        if not os.path.isfile(name) or not os.access(name, os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return name
    path = wire.raw(order["env"].get("PATH", _DEFAULT_PATH))
    denied = False
    for directory in path.split(b":"):
        candidate = os.path.join(directory or b".", name)
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            denied = True
    number = errno.EACCES if denied else errno.ENOENT
    raise OSError(number, os.strerror(number))
