"""`blackstart net`: what its page shows holds, each ending has its status, each mistake is told with its place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.lab.conftest import until
from tests.live.programs.running import BLACKSTART

pytestmark = pytest.mark.live
PAGE = Path(__file__).parents[3] / "docs" / "commands" / "net.md"
PAIR = "[hosts.a]\n[hosts.b]\n"
Net = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def net(tmp_path: Path) -> Net:
    """Run it on a file of this text; skipped where this machine gives no namespaces."""

    def run(text: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "lab.toml").write_text(text)
        done = subprocess.run(
            [BLACKSTART, "net", "lab.toml", *words],
            cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
        if done.returncode == 3 and "gives no namespaces" in done.stderr:
            pytest.skip("needs namespaces: this machine gives none")
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.mark.needs("ping")
def test_the_example_of_its_page_is_as_slow_as_it_says(net: Net) -> None:
    text = PAGE.read_text().partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(text)["hosts"].keys() == {"client", "server"}
    # Its link loses 1.5 %: enough are sent for some to come back.
    done = net(text, "--seed", "1", "--", "ping", "-n", "-c", "4", "-i", "0.3", "-W", "20", "server")
    assert done.stderr.startswith("lab of 2 hosts, seed 1: client 10.97.0.2, server 10.97.0.3\n"), done
    times = [float(line.rpartition("time=")[2].split()[0]) for line in done.stdout.splitlines() if "time=" in line]
    assert times and min(times) >= 500, done
    asked = "import urllib.request as u; print(u.urlopen('http://server:8000', timeout=90).status)"
    assert net(text, "--", sys.executable, "-c", asked).stdout == "200\n"


def test_the_status_is_that_of_the_command(net: Net) -> None:
    assert net(PAIR, "--host", "b", "--", "sh", "-c", "exit 7").returncode == 7
    assert net(PAIR, "--", "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


MISTAKES = [
    (PAIR, ["--", "no-such-program"], "no-such-program cannot be started", ""),
    (PAIR, ["--", ""], "cannot be started", ""), (PAIR, [], "no command to run", ""),
    (PAIR, ["--host", "c", "--", "true"], "no host 'c'", ""),
    (PAIR, ["--profile", "4h", "--", "true"], "no profile '4h'", ""),
    (PAIR, ["--service", "web", "--", "true"], "--service says nothing", ""),
    (PAIR + '[[chaos]]\nwhere="c"\nprofile="3g"', ["--", "true"], "no host 'c'", "lab.toml: chaos 1"),
    (PAIR + '[[chaos]]\nwhere=["a", "a"]\nprofile="3g"', ["--", "true"], "to itself", "lab.toml: chaos 1"),
    (PAIR + '[roles]\nx=["c"]', ["--", "true"], "no host 'c'", "lab.toml"),
    ('engine="tc"\n' + PAIR, ["--", "true"], "no engine 'tc'", "lab.toml"),
    ("[hosts.localhost]", ["--", "true"], "means each host itself", "lab.toml"),
    ('[hosts.a]\ncommand=["true"]\nready=80', ["--", "true"], "true ended with 0", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words", "said", "where"), MISTAKES)
def test_a_mistake_is_told_with_its_place(net: Net, text: str, words: list[str], said: str, where: str) -> None:
    done = net(text, *words)
    assert done.returncode == 2 and said in done.stderr, done
    assert not where or f"where: {where}" in done.stderr, done


@pytest.mark.parametrize(
    "words", [["profiles", "--seed", "1"], ["compose", "--", "true"], ["profiles", "--image", "x"]]
)
def test_what_would_change_nothing_is_a_mistake(words: list[str]) -> None:
    done = subprocess.run([BLACKSTART, "net", *words], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 2 and "says nothing to" in done.stderr, done


def test_all_is_gone_when_blackstart_is_killed(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('[hosts.a]\n[hosts.b]\ncommand = ["sleep", "1001"]\n')
    script = "import os, time; print(os.readlink('/proc/thread-self/ns/net'), flush=True); time.sleep(1000)"
    command = [BLACKSTART, "net", "lab.toml", "--", sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        network = running.stdout.readline().strip()
        if not network:
            pytest.skip("needs namespaces: this machine gives none")
        assert len(inside(network)) == 1
        running.kill()
    until(lambda: not inside(network))


def test_an_interruption_ends_the_command_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(PAIR)
    command = [
        BLACKSTART,
        "net",
        "lab.toml",
        "--",
        "sh",
        "-c",
        "trap 'echo told; exit 5' INT; echo up; sleep 1002 & wait",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        if not running.stdout.readline():
            pytest.skip("needs namespaces: this machine gives none")
        running.terminate()
        assert running.communicate(timeout=500)[0] == "told\n" and running.returncode == 130


def inside(network: str) -> list[str]:
    """The processes in that network namespace."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/ns/net") == network:
                found.append(pid)
        except OSError:
            continue
    return found
