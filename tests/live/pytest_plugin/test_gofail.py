"""A real Go program with gofail's own runtime follows our rules, from its environment and while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blackstart.core.clock import SYSTEM
from blackstart.inprocess.elsewhere import Gofail, in_go
from blackstart.inprocess.errors import AlreadyArmed, UnknownFailpoint

GOCODE = "/usr/share/gocode"
NAME = "saver/store/saveError"
pytestmark = [pytest.mark.live, pytest.mark.needs("go", "gofail"), pytest.mark.timeout(600)]
# Saves each line that it reads, and says how that went.
STORE = """package store

import "errors"

var ErrEmpty = errors.New("nothing to save")

func Save(text string) error {
	// gofail: var saveError string
	// return errors.New(saveError)
	if text == "" {
		return ErrEmpty
	}
	return nil
}
"""
MAIN = """package main

import (
	"bufio"
	"fmt"
	"os"

	"saver/store"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := store.Save(lines.Text()); err != nil {
			fmt.Println("failed:", err)
		} else {
			fmt.Println("saved")
		}
	}
}
"""


@pytest.fixture(scope="module")
def saver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built with its failpoints enabled."""
    if not Path(GOCODE, "src/go.etcd.io/gofail/runtime").exists():
        pytest.skip("needs golang-github-etcd-io-gofail-dev (not installed)")
    home = tmp_path_factory.mktemp("go")
    source = home / "src" / "saver"
    (source / "store").mkdir(parents=True)
    (source / "main.go").write_text(MAIN)
    (source / "store" / "store.go").write_text(STORE)
    environment = os.environ | {"GOPATH": f"{home}:{GOCODE}", "GO111MODULE": "off", "GOFLAGS": ""}
    environment.setdefault("GOCACHE", str(home / "cache"))
    for command in (["gofail", "enable", str(source / "store")], ["go", "build", "-o", str(home / "saver"), "saver"]):
        done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return home / "saver"


def test_rules_from_the_environment(saver: Path, failpoints: Any) -> None:
    environment = failpoints.in_go({NAME: "@2 return(no space)"})
    done = subprocess.run([saver], input="a\nb\nc\n", env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-3:] == ["saved", "failed: no space", "saved"]


def test_a_panic_is_a_crash_of_the_program(saver: Path) -> None:
    environment = os.environ | in_go({NAME: "@3+ panic(gone)"})
    done = subprocess.run([saver], input="a\nb\nc\n", env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-2:] == ["saved", "saved"]
    assert done.returncode == 2 and "gone" in done.stderr


@pytest.fixture
def running(saver: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program while it runs, and the address of its endpoint."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {"GOFAIL_HTTP": address}
    program = subprocess.Popen([saver], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdin and program.stdout
    with program:
        assert said(program) == "saved"
        yield program, address
        program.send_signal(signal.SIGKILL)


def said(program: subprocess.Popen[str]) -> str:
    assert program.stdin and program.stdout
    program.stdin.write("line\n")
    program.stdin.flush()
    return program.stdout.readline().rstrip("\n")


def test_rules_of_a_running_program_come_and_go(running: tuple[subprocess.Popen[str], str]) -> None:
    program, address = running
    point = Gofail(address)
    assert point.names() == [NAME]
    with point.armed(NAME, "@2+ return(no space)", may_miss=True):
        assert [said(program) for _ in range(3)] == ["saved", "failed: no space", "failed: no space"]
    assert said(program) == "saved"
    with pytest.raises(KeyError), point.armed(NAME, "return(no space)", may_miss=True):
        assert said(program) == "failed: no space"
        raise KeyError
    assert said(program) == "saved"
    with pytest.raises(UnknownFailpoint, match="did you mean"), point.armed(NAME[:-1], "panic"):
        pass


def test_the_fixture_heals_what_it_set(running: tuple[subprocess.Popen[str], str], failpoints: Any) -> None:
    program, address = running
    failpoints.at_gofail(address, NAME, "1*return(no space)", may_miss=True)
    assert [said(program), said(program)] == ["failed: no space", "saved"]


DIES = """
import os, signal, sys
from blackstart.inprocess.elsewhere import Gofail
with Gofail(sys.argv[1]).armed(sys.argv[2], "return(no space)"):
    print("set", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_rule_is_healed_though_the_process_that_set_it_dies(running: tuple[subprocess.Popen[str], str]) -> None:
    program, address = running
    dying = subprocess.Popen(
        [sys.executable, "-c", DIES, address, NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with dying:
        assert dying.stdin and dying.stdout and dying.stdout.readline() == "set\n"
        assert said(program) == "failed: no space"
        dying.stdin.write("die\n")
    assert dying.returncode == -signal.SIGKILL
    until = SYSTEM.monotonic() + 60
    while said(program) != "saved":
        assert SYSTEM.monotonic() < until, "the failpoint outlived the process that set it"
        SYSTEM.sleep(0.02)


def test_a_second_rule_is_refused_and_the_first_holds(running: tuple[subprocess.Popen[str], str]) -> None:
    program, address = running
    with Gofail(address).armed(NAME, "return(no space)"):
        with pytest.raises(AlreadyArmed, match="is armed already"), Gofail(address).armed(NAME, "panic"):
            pass
        assert said(program) == "failed: no space"
    with Gofail(address).armed(NAME, "off"):
        assert said(program) == "saved"
