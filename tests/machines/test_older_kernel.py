"""`doctor` and the attempts to escape from the sandbox on Debian 12's own kernel, as an ordinary user.

That kernel is older than what makes the gate fast, and its tmpfs has no user attributes: `doctor` must name what falls
away, and nothing else may.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.machines.guest import PROJECT, VIRTIOFSD, Guest

SUITES = ("tests/live/sandbox/test_escape.py",)
LIMIT_S = 5400

pytestmark = [
    pytest.mark.machines,
    pytest.mark.timeout(2 * LIMIT_S),
    pytest.mark.needs("qemu-system-x86_64", "cpio", "busybox", "gcc", "setpriv"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whom the machine's files are shown by"),
    pytest.mark.skipif(not os.path.exists(VIRTIOFSD), reason=f"needs {VIRTIOFSD} (not installed)"),
]


def command(*words: str) -> str:
    return shlex.join([sys.executable, "-m", *words])


def test_doctor_names_what_falls_away(guest: Guest) -> None:
    said = guest.visit(command("blackstart", "doctor"), limit_s=600)
    lines = {line.split("(")[0].strip() for line in re.sub(r"\x1b\[\d*m|\r", "", said).splitlines()}
    missing = {line.removeprefix("no").strip() for line in lines if line.startswith("no ")}
    assert "VISITED" in said and missing == {
        "attributes in memory", "listener wakes synchronously", "landlock", "cgroup"
    }, said  # fmt: skip


def test_the_attempts_to_escape_fail_there(guest: Guest) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-rfEs", "--timeout", "900", "--rootdir", str(PROJECT)]
    said = guest.visit(
        f"cd {shlex.quote(str(PROJECT))}; export BLACKSTART_TEST_SLOWNESS=10; "
        f"{command('pytest', *options, *SUITES)}; echo ENDED $?",
        limit_s=LIMIT_S,
    )
    Path(guest.work / "suites.txt").write_text(said)
    print(said)
    assert "ENDED 0" in said, said[-5000:]
