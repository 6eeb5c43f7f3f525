"""Starting under the gate, and what is said where that is not possible."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from blackstart.core.errors import BlackstartError, TargetError
from blackstart.gate import DEFAULT, launch, notify
from blackstart.gate import filter as gate_filter

from .conftest import Stage

pytestmark = pytest.mark.live
PROGRAM = gate_filter.compile(DEFAULT)


@pytest.mark.parametrize(("argv", "reason"), [(["/no/such/command"], "No such file"), (["/etc/passwd"], "Permission")])
def test_a_command_that_cannot_be_started_is_said(argv: list[str], reason: str) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(TargetError, match=reason) as caught:
        launch(argv, PROGRAM)
    assert caught.value.next_step
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_a_missing_directory_is_said() -> None:
    with pytest.raises(TargetError, match="No such file"):
        launch(["true"], PROGRAM, cwd="/no/such/directory")


def test_the_gate_inside_the_gate_is_refused_with_the_next_step(stage: Stage) -> None:
    script = """
from blackstart.gate import DEFAULT, launch, filter
try: launch(["true"], filter.compile(DEFAULT))
except Exception as error: print(type(error).__name__, error.exit_status, error, sep="|")
"""
    root = str(Path(gate_filter.__file__).parents[2])
    ran = stage.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": root})
    text = ran.output.decode()
    assert text.startswith("BlackstartError|3|the gate cannot be used inside another gate"), text
    assert "next:" in text and "strace" in text


def test_a_kernel_without_seccomp_is_told_apart() -> None:
    for number in (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES):
        error = notify.listener_refused(OSError(number, os.strerror(number)))
        assert error.exit_status == 3 and "strace" in error.next_step and os.strerror(number) in str(error)


def test_a_broken_filter_is_no_silent_start() -> None:
    with pytest.raises(BlackstartError) as caught:
        launch(["true"], b"\xff" * 16)
    assert caught.value.next_step


def test_the_launchers_own_calls_are_not_in_the_trace(stage: Stage) -> None:
    ran = stage.run(["true"])
    assert ran.code == 0
    assert "execve" not in {o.call for o in ran.gate.trace}
    assert ran.gate.trace[0].path == "/etc/ld.so.cache"


def test_the_target_inherits_nothing_but_its_streams(stage: Stage) -> None:
    leaked = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(leaked, False)
    try:
        ran = stage.run([sys.executable, "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))"])
    finally:
        os.close(leaked)
    assert ran.output in (b"['0', '1', '2', '3']\n",)


def test_the_targets_last_breath_in_the_gate_is_no_error(stage: Stage) -> None:
    # Threads that wait in the gate while their process is ended by another thread.
    script = """
import os, threading
def work():
    while True: os.close(os.open("f", os.O_CREAT | os.O_WRONLY))
for _ in range(6): threading.Thread(target=work, daemon=True).start()
import time; time.sleep(0.2); os._exit(7)
"""
    assert stage.run([sys.executable, "-c", script]).code == 7
