"""tools/prepare.sh installs what it may, names what it may not, and makes .venv where ensurepip is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "prepare.sh"


class Machine:
    """A machine made of a PATH with stand-ins, and a clone with nothing but the script."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.bin, self.log = folder / "clone", folder / "bin", folder / "log"
        (self.clone / "tools").mkdir(parents=True)
        self.bin.mkdir()
        (self.clone / "tools" / "prepare.sh").write_text(SCRIPT.read_text())
        (self.clone / "pyproject.toml").write_text("")
        for tool in ("bash", "dirname", "tr", "rm", "mkdir", "cat", "cksum"):
            self.bin.joinpath(tool).symlink_to(f"/usr/bin/{tool}")

    def has(self, tool: str, script: str = "exit 0") -> Machine:
        """Put a command on the PATH that notes how it was called and does what `script` says."""
        path = self.bin / tool
        path.write_text(f'#!/bin/bash\necho "{tool} $*" >>{self.log}\n{script}\n')
        path.chmod(0o755)
        return self

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", "tools/prepare.sh", *arguments],
            cwd=self.clone,
            env={"PATH": str(self.bin), "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def calls(self, tool: str) -> list[str]:
        """How a command was called."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == tool]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_root_installs_what_is_missing_and_nothing_else(machine: Machine) -> None:
    machine.has("id", "echo 0").has("apt-get").has("sqlite3").has("gcc").has("eu-stack").has("go")
    done = machine.run("packages")
    assert done.returncode == 0, done.stderr
    update, install = machine.calls("apt-get")
    assert update.endswith("update")
    assert "DPkg::Lock::Timeout=300" in update
    assert "strace" in install.split()
    assert "sqlite3" not in install.split()


def test_an_ordinary_user_is_told_what_is_missing_and_goes_on(machine: Machine) -> None:
    done = machine.has("id", "echo 1000").has("apt-get").run("packages")
    assert done.returncode == 0
    assert "only root may install: sqlite3 strace gcc golang-go" in done.stderr
    assert machine.calls("apt-get") == []


def test_a_failing_apt_stops_nothing(machine: Machine) -> None:
    done = machine.has("id", "echo 0").has("apt-get", "exit 100").run("packages")
    assert done.returncode == 0
    assert "are skipped" in done.stderr


# A Python without ensurepip, whose pip can serve another environment; .venv/bin/python is itself again.
NO_ENSUREPIP = r"""
case "$*" in
    "-m venv .venv") echo "ensurepip is not available"; exit 1 ;;
    "-m venv --without-pip .venv")
        mkdir -p .venv/bin; cat "$0" >.venv/bin/python; exec /bin/chmod 755 .venv/bin/python ;;
    "-m pip "*) exit "${NO_PIP:-0}" ;;
    *) exit 0 ;;
esac
"""


def test_a_user_without_ensurepip_gets_an_environment_from_the_pip_that_is_there(machine: Machine) -> None:
    done = machine.has("id", "echo 1000").has("python3", NO_ENSUREPIP).run("venv", "test,yaml")
    assert done.returncode == 0, done.stderr
    assert "-m pip --python .venv/bin/python install -q pip" in machine.calls("python3")
    assert "-m pip install -q -e .[test,yaml]" in machine.calls("python3")


def test_root_without_ensurepip_installs_it(machine: Machine) -> None:
    script = f'[ -e {machine.clone}/has-venv ] || case "$*" in "-m venv .venv") exit 1 ;; esac\n'
    script += 'case "$*" in "-m venv .venv") mkdir -p .venv/bin; cat "$0" >.venv/bin/python; '
    script += "exec /bin/chmod 755 .venv/bin/python ;; esac"
    machine.has("id", "echo 0").has("apt-get", f">{machine.clone}/has-venv").has("python3", script)
    done = machine.run("venv", "examples")
    assert done.returncode == 0, done.stderr
    assert machine.calls("apt-get")[-1].split()[-1] == "python3-venv"


def test_without_ensurepip_and_pip_it_says_whom_to_ask(machine: Machine) -> None:
    done = machine.has("id", "echo 1000").has("python3", "NO_PIP=1\n" + NO_ENSUREPIP).run("venv", "test")
    assert done.returncode == 1
    assert "ask an administrator for: apt-get install python3-venv" in done.stderr
    assert not (machine.clone / ".venv").exists()


def test_an_old_python_is_refused(machine: Machine) -> None:
    done = machine.has("id", "echo 1000").has("python3", "exit 1").run("venv", "test")
    assert done.returncode == 1
    assert "no Python 3.11 or later was found" in done.stderr


def test_a_second_run_installs_nothing(machine: Machine) -> None:
    machine.has("id", "echo 1000").has("python3", NO_ENSUREPIP)
    machine.run("venv", "test")
    before = len(machine.calls("python3"))
    assert machine.run("venv", "test").returncode == 0
    assert not [call for call in machine.calls("python3")[before:] if "install" in call]


@pytest.mark.skipif(os.geteuid() == 0, reason="needs an ordinary user: root may write everywhere")
def test_a_clone_that_cannot_be_written_is_refused(machine: Machine) -> None:
    machine.has("id", "echo 1000").has("python3", NO_ENSUREPIP)
    machine.clone.chmod(0o555)
    try:
        done = machine.run("venv", "test")
    finally:
        machine.clone.chmod(0o755)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
