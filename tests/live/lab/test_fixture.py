"""The fixture `chaos` in somebody's own suite: it works, it ends with the test, its draws follow the seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live
ADOPTS = """
import os, subprocess, time

def test_it(chaos):
    with subprocess.Popen(["unshare", "-n", "sleep", "1000"]) as other:
        while os.stat(f"/proc/{other.pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
            time.sleep(0.01)
        net = chaos("client", adopted={"web": other.pid}, roles={"server": ["web"]})
        ping = ["ping", "-c", "1", "-W", "1", "web"]
        net.lab["client"].run(ping[:-2] + ["10", "web"], check=True)
        with net.partition("client", "server"):
            assert net.lab["client"].run(ping).returncode == 1
        other.kill()
"""
SUITE = """
import sys, pytest
SEND = "import socket; s = socket.socket(2, 2); [s.sendto(b'x', ('b', 9)) for _ in range(200)]"

def test_it(chaos):
    net = chaos("a", "b")
    # One way: that nobody listens there is said only so many times a second, so how often depends on the machine.
    fault = net.apply_loss(("a", "b"), 50, one_way=True)
    net.lab["a"].run([sys.executable, "-c", SEND], check=True)
    assert fault.counts()["seen"] == 200
    print("DROPPED", fault.counts()["dropped"], "KEEPER", net.lab._keeper.pid)
"""


def dropped(place: Path, seed: int) -> str:
    (place / "test_suite.py").write_text(SUITE)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", f"--blackstart-seed={seed}"],
        cwd=place, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    if "skipped" in ended.stdout:
        pytest.skip("needs namespaces: this machine gives none")
    assert "1 passed" in ended.stdout, ended.stdout
    words = ended.stdout.split()
    assert not Path("/proc", words[words.index("KEEPER") + 1]).exists()
    return words[words.index("DROPPED") + 1]


def test_the_fixture_ends_with_its_test_and_draws_from_the_seed(tmp_path: Path) -> None:
    first, again, other = dropped(tmp_path, 1), dropped(tmp_path, 1), dropped(tmp_path, 2)
    assert first == again and 60 < int(first) < 140 and 60 < int(other) < 140


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another's network namespace is joined")
@pytest.mark.needs("ping")
def test_the_fixture_takes_the_network_of_another_process(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(ADOPTS)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    if "skipped" in ended.stdout:
        pytest.skip("needs namespaces: this machine gives none")
    assert "1 passed" in ended.stdout, ended.stdout
