"""Starts a program under the gate without any sandbox: for tests, benchmarks and programs that need none.

fork; the child sets no_new_privs, loads the filter, hands the listener over by SCM_RIGHTS (its sendmsg on the control
descriptor passes the filter), and execs. Nothing here contains the program: it runs on the real files.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping, Sequence

import msgspec

from blackstart.core.errors import BlackstartError, TargetError
from blackstart.gate import notify
from blackstart.gate.filter import CONTROL_DESCRIPTOR

_TOLD = CONTROL_DESCRIPTOR - 1


class Launched(msgspec.Struct, frozen=True):
    """A program that was started: its process id, and the listener of its tree."""

    pid: int
    listener: int

    def kill(self) -> None:
        """SIGKILL to its process group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def launch(
    argv: Sequence[str | bytes],
    program: bytes,
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: int = 0,
    stdout: int = 1,
    stderr: int = 2,
) -> Launched:
    """Start argv as the leader of a new session, under the filter."""
    ours, theirs = socket.socketpair()
    report, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            # Two numbers that nobody else has, so that everything else can be closed.
            os.dup2(told, _TOLD, inheritable=False)
            told = _TOLD
            _become(argv, program, env, cwd, (stdin, stdout, stderr), theirs)
        except BlackstartError as error:
            os.write(told, f"gate:{error.what}\n{error.next_step}".encode("utf-8", "replace"))
        except OSError as error:
            os.write(told, f"exec:{error.strerror}".encode())
        finally:
            os._exit(127)
    theirs.close()
    os.close(told)
    with ours, os.fdopen(report, "rb", buffering=0) as trouble:
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        if descriptors:
            notify.pass_until_end(descriptors[0], report)
        text = trouble.read(4096).decode() or ("" if descriptors else "exec:no listener")
    if not text:
        return Launched(pid, descriptors[0])
    os.kill(pid, signal.SIGKILL)  # its own end may wait in the gate
    os.waitpid(pid, 0)
    for descriptor in descriptors:
        os.close(descriptor)
    kind, _, what = text.partition(":")
    if kind == "gate":
        what, _, step = what.partition("\n")
        raise BlackstartError(what, next_step=step, exit_status=3)
    raise TargetError(f"cannot start {os.fsdecode(argv[0])}: {what}", next_step="check the command and its permissions")


def _become(
    argv: Sequence[str | bytes],
    program: bytes,
    env: Mapping[str, str] | None,
    cwd: str | None,
    standard: tuple[int, int, int],
    control: socket.socket,
) -> None:
    """In the child: never returns, or raises."""
    os.setsid()
    if cwd is not None:
        os.chdir(cwd)
    copies = [os.dup(descriptor) for descriptor in standard]
    for number, copy in enumerate(copies):
        os.dup2(copy, number)
        os.close(copy)
    os.dup2(control.fileno(), CONTROL_DESCRIPTOR, inheritable=False)
    os.closerange(3, _TOLD)
    os.closerange(CONTROL_DESCRIPTOR + 1, os.sysconf("SC_OPEN_MAX"))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    listener = notify.load_filter(program)
    with socket.socket(fileno=CONTROL_DESCRIPTOR) as channel:
        socket.send_fds(channel, [b"l"], [listener])
    # From here on, every named call of this process waits for the supervisor, execve first of all.
    os.execvpe(os.fsencode(argv[0]), [os.fsencode(a) for a in argv], dict(os.environ if env is None else env))
