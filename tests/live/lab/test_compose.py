"""The profiles of a Compose file: Compose reads them, and what they run does what it says in a container's place."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from blackstart.lab import PROFILES, Lab, Process, netem
from blackstart.lab.compose import compose
from tests.live.lab.conftest import opened, until

pytestmark = pytest.mark.live
PROJECT = """
services:
  web: {image: "tools", command: ["sleep", "1000"]}
  wifi: {image: "tools", command: ["sleep", "1000"]}
"""


def composer() -> list[str]:
    """Compose as a plugin of docker, or as a program of its own; neither needs a daemon to read files."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") and not subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode:
        return plugin
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("needs docker-compose (not installed)")


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., str]:
    (tmp_path / "compose.yaml").write_text(PROJECT)
    (tmp_path / "chaos.yaml").write_text(compose("web", image="tools"))
    begin = [*composer(), "-f", "compose.yaml", "-f", "chaos.yaml"]

    def asked(*words: str) -> str:
        done = subprocess.run([*begin, *words], cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done
        return done.stdout

    return asked


def test_compose_reads_the_file_beside_a_project_and_takes_each_profile(ask: Callable[..., str]) -> None:
    wanted = [word for name in PROFILES for word in ("--profile", name)]
    services = yaml.safe_load(ask(*wanted, "config"))["services"]
    assert services.keys() == {"web", "wifi"} | {f"net-{name}" for name in PROFILES}
    assert services["wifi"]["image"] == "tools" and "profiles" not in services["wifi"]  # the project's own
    for name in PROFILES:
        found, meant = services[f"net-{name}"], yaml.safe_load(compose("web", image="tools"))["services"][f"net-{name}"]
        for key in ("network_mode", "profiles", "cap_add", "entrypoint"):
            assert found[key] == meant[key], (name, key)
        assert "web" in found["depends_on"]


@pytest.fixture(scope="module")
def container() -> Iterator[Lab]:
    """Its host `web` has what a container has: a network of its own, with an eth0."""
    with opened("web", "other") as lab:
        yield lab


def entrypoint(*changes: tuple[str, str]) -> Sequence[str]:
    words: list[str] = yaml.safe_load(compose("web", image="tools"))["services"]["net-delay-500"]["entrypoint"]
    script = words[-1].replace("$$", "$")  # as Compose does
    for old, new in changes:
        assert old in script
        script = script.replace(old, new)
    return [*words[:-1], script]


# What this kernel has in netem's place: the script is the same.
INSTEAD = (("root netem limit 10000 delay 500ms", "root tbf rate 1mbit burst 10kb latency 50ms"), ("*netem*", "*tbf*"))


def start(lab: Lab, argv: Sequence[str]) -> Process:
    return lab["web"].popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(process: Process) -> tuple[int | None, str]:
    said = process.communicate(timeout=500)
    return process.returncode, "".join(part.decode() for part in said)


def qdisc(lab: Lab) -> str:
    return lab["web"].run(["tc", "qdisc", "show", "dev", "eth0"], check=True).stdout


@pytest.mark.needs("tc")
def test_its_fault_is_there_until_it_is_stopped_and_a_second_one_is_refused(container: Lab) -> None:
    before = qdisc(container)
    first = start(container, entrypoint(*INSTEAD))
    until(lambda: "tbf" in qdisc(container))
    there = qdisc(container)
    status, said = end(start(container, entrypoint(*INSTEAD)))
    assert status == 1 and "another profile is on" in said, said
    assert qdisc(container) == there  # the first one's, untouched
    first.send_signal(signal.SIGTERM)  # docker stop
    assert end(first)[0] == 0 and qdisc(container) == before


@pytest.mark.needs("tc")
def test_it_ends_and_says_so_where_its_fault_is_taken_away(container: Lab) -> None:
    running = start(container, entrypoint(*INSTEAD))
    until(lambda: "tbf" in qdisc(container))
    container["web"].run(["tc", "qdisc", "del", "dev", "eth0", "root"], check=True)
    status, said = end(running)
    assert status == 1 and "the fault is gone" in said, said


@pytest.mark.needs("tc")
def test_without_netem_it_ends_and_says_what_to_do(container: Lab) -> None:
    before = qdisc(container)
    running = start(container, entrypoint(("root netem", "root nettem")))  # a kind that no kernel has
    status, said = end(running)
    assert status == 1 and "modprobe sch_netem" in said and qdisc(container) == before, said


@pytest.mark.needs("tc")
def test_tc_reads_the_words_of_each_profile(container: Lab) -> None:
    for name, wish in PROFILES.items():
        words = ["tc", "qdisc", "add", "dev", "eth0", "root", "netem", *netem(wish).split()]
        done = container["other"].run(words)
        if done.returncode == 0:
            container["other"].run(["tc", "qdisc", "del", "dev", "eth0", "root"], check=True)
        else:  # it read them, and the kernel has no netem
            assert "qdisc kind is unknown" in done.stderr, (name, done)
