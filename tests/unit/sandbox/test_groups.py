"""Control groups: where they can be made, and what is written there; both versions, on files that stand for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blackstart.core.errors import SandboxLimit
from blackstart.sandbox import groups
from blackstart.sandbox.groups import CPU, MEMORY, Group, Place


def hierarchy(base: Path, version: int, *files: tuple[str, str]) -> Path:
    """A mount point with our own group `a/b` below it."""
    home = base / "a" / "b"
    home.mkdir(parents=True)
    for directory in (base, base / "a", home):
        (directory / "cgroup.procs").write_text("")
    for name, text in files:
        (base / name).write_text(text)
    kind, options = ("cgroup", "rw,memory") if version == 1 else ("cgroup2", "rw")
    (base / "mounts").write_text(f"group {base} {kind} {options} 0 0\n")
    (base / "own").write_text("4:memory:/a/b\n" if version == 1 else "0::/a/b\n")
    return home


def found(base: Path, controller: str = MEMORY) -> Place:
    return groups.place(controller, str(base / "mounts"), str(base / "own"))


def test_below_our_own_in_version_1(tmp_path: Path) -> None:
    home = hierarchy(tmp_path, 1)
    assert found(tmp_path) == Place(parent=str(home), home=str(home), version=1)
    assert "no group with the cpu controller" in found(tmp_path, CPU).refusal


def test_beside_our_own_in_version_2_if_the_controller_is_handed_down(tmp_path: Path) -> None:
    home = hierarchy(tmp_path, 2, ("a/cgroup.subtree_control", "memory pids\n"))
    assert found(tmp_path) == Place(parent=str(tmp_path / "a"), home=str(home), version=2)
    assert found(tmp_path, CPU).refusal


def test_a_group_that_this_place_does_not_show(tmp_path: Path) -> None:
    hierarchy(tmp_path, 1)
    (tmp_path / "own").write_text("4:memory:/elsewhere\n")
    assert found(tmp_path).home == str(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="needs an ordinary user: root may write everywhere")
def test_refused_to_who_may_not_write(tmp_path: Path) -> None:
    hierarchy(tmp_path, 1).chmod(0o555)
    assert found(tmp_path).refusal == "this user may not make groups"


def group(base: Path, version: int, controller: str, **files: str) -> Group:
    path = base / "group"
    path.mkdir()
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return Group(str(path), Place(parent=str(base), home=str(base), version=version), controller)


def text(base: Path, name: str) -> str:
    return (base / "group" / name).read_text()


def test_memory_in_version_1(tmp_path: Path) -> None:
    made = group(tmp_path, 1, MEMORY, memory__usage_in_bytes="5000\n", memory__failcnt="3\n",
                 memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")  # fmt: skip
    assert made.counts() == {"killed": 2, "met": 3, "waited": 0}
    made.limit_memory(100, waits=True)
    assert (text(tmp_path, "memory.limit_in_bytes"), text(tmp_path, "memory.oom_control")) == ("5100", "1")
    made.lift()
    assert (text(tmp_path, "memory.limit_in_bytes"), text(tmp_path, "memory.oom_control")) == ("-1", "0")


def test_a_wait_for_memory_in_version_1(tmp_path: Path) -> None:
    made = group(tmp_path, 1, MEMORY, memory__usage_in_bytes="5000\n", memory__failcnt="3\n", memory__oom_control="")
    made.limit_memory(0, waits=True)
    told = int(text(tmp_path, "cgroup.event_control").split()[0])
    made.limit_memory(0, waits=True)  # a second try hears of the same
    assert int(text(tmp_path, "cgroup.event_control").split()[0]) == told
    (tmp_path / "group" / "memory.oom_control").write_text("oom_kill_disable 1\nunder_oom 0\noom_kill 0\n")
    assert made.counts()["waited"] == 0  # what could be reclaimed hurt nobody
    os.eventfd_write(told, 2)  # as the kernel does
    assert made.counts()["waited"] == made.counts()["waited"] == 2
    os.rename(tmp_path / "group", tmp_path / "gone")
    made.remove()
    with pytest.raises(OSError):
        os.fstat(told)


def test_memory_in_version_2(tmp_path: Path) -> None:
    made = group(tmp_path, 2, MEMORY, memory__current="5000\n", memory__events="low 0\nhigh 4\nmax 1\noom_kill 0\n")
    assert made.counts() == {"killed": 0, "met": 5, "waited": 0}  # a kernel that does not account for pressure
    for stalled_us, waited in ((99_999, 0), (250_000, 2)):
        some, full = (f"{who} avg10=0.00 avg60=0.00 avg300=0.00 total={stalled_us}" for who in ("some", "full"))
        (tmp_path / "group" / "memory.pressure").write_text(f"{some}\n{full}\n")
        assert made.counts()["waited"] == waited
    made.limit_memory(0, waits=True)
    assert text(tmp_path, "memory.high") == "5000"
    made.limit_memory(0)
    assert text(tmp_path, "memory.max") == "5000"
    made.lift()
    assert (text(tmp_path, "memory.high"), text(tmp_path, "memory.max")) == ("max", "max")


def test_a_processor_in_both_versions(tmp_path: Path) -> None:
    made = group(tmp_path, 1, CPU, cpu__stat="nr_periods 9\nnr_throttled 7\n")
    made.limit_cpu(10)
    assert (text(tmp_path, "cpu.cfs_quota_us"), made.counts()) == ("10000", {"throttled": 7})
    made.lift()
    assert text(tmp_path, "cpu.cfs_quota_us") == "-1"
    second = tmp_path / "second"
    second.mkdir()
    made = group(second, 2, CPU, cpu__stat="nr_throttled 1\n")
    made.limit_cpu(10)
    assert text(second, "cpu.max") == "10000 100000"
    made.lift()
    assert text(second, "cpu.max") == "max 100000"


def test_no_group_where_none_is_allowed() -> None:
    with pytest.raises(SandboxLimit, match="not here"), groups.made(MEMORY, Place(refusal="not here")):
        pass
