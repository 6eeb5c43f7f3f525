"""Control groups of version 2, a part of which is an ordinary user's own, on Debian 12's kernel.

The tests are those that run on a machine with version 1, too. covers: M-19, L-5
"""

from __future__ import annotations

import re

import pytest

from tests.machines.guest import DELEGATED, NEEDED_BY_VISITS, PROJECT, Guest, command

LIMIT_S = 1800
TESTS = "tests/live/trials/test_limits.py"
# Those that want a group; of the services the ones that lack what only a group can take from them.
WANTED = "resident or pressure or cpu or reclaimed or killed"

pytestmark = [pytest.mark.machines, pytest.mark.timeout(2 * LIMIT_S), *NEEDED_BY_VISITS]


def test_a_tree_lacks_memory_and_processor_there_too(guest: Guest) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-rfEs", "--timeout", "900", "--rootdir", str(PROJECT)]
    suite = command("pytest", *options, TESTS, "-k", WANTED)
    script = f"cat /proc/self/cgroup; {command('blackstart', 'doctor')}; echo LOOKED; {suite}; echo ENDED $?"
    told = re.sub(r"\x1b\[\d*m|\r", "", guest.visit(script, limit_s=LIMIT_S, first=DELEGATED))
    print(told)
    looked, _, ran = told.partition("LOOKED")
    assert "0::/visit/own" in looked and not re.search(r"no +cgroup", looked), looked
    assert "ENDED 0" in ran and re.search(r"\b6 passed", ran), ran[-5000:]
