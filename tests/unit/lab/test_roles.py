"""Hosts chosen by their role: which paths and partitions are meant (covers: T-1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blackstart.lab import Lab, LabError, NetworkChaos
from blackstart.lab.chaos import _pairs, paths
from blackstart.lab.description import read_description

ROLES = {"primary": ["a"], "replica": ["b", "c"]}


class Told(Lab):
    """A lab that is never opened and keeps what was asked of it."""

    def __init__(self, **more: Any) -> None:
        super().__init__("a", "b", "c", "client", seed=1, **more)
        self.asked: list[dict[str, Any]] = []

    def ask(self, message: Any, descriptors: Any = ()) -> tuple[dict[str, Any], list[int]]:
        self.asked.append(message)
        return {"number": len(self.asked)}, []


def test_a_role_stands_for_its_hosts_at_either_end_of_a_path() -> None:
    lab = Told(roles=ROLES)
    assert _pairs(lab, ("primary", "replica"), True) == [("a", "b"), ("a", "c")]
    assert set(_pairs(lab, ("client", "replica"), False)) == {
        ("client", "b"), ("client", "c"), ("b", "client"), ("c", "client"),
    }  # fmt: skip


def test_a_role_alone_is_all_that_its_hosts_send_and_get_each_path_once() -> None:
    pairs = _pairs(Told(roles=ROLES), "replica", False)
    assert len(pairs) == len(set(pairs)) == 10
    assert not {pair for pair in pairs if not {"b", "c"} & set(pair)}
    assert len(_pairs(Told(roles=ROLES), "replica", True)) == 6


def test_a_fault_on_hosts_that_are_on_no_network_together_is_refused() -> None:
    lab = Lab(networks={"front": ["a", "b"], "back": ["b", "c"]}, roles={"ends": ["a", "c"]})
    with pytest.raises(LabError, match="no two of its hosts are on one network") as refused:
        NetworkChaos(lab).apply_loss(("a", "c"), 10)
    assert "back has b, c" in refused.value.next_step
    assert paths(lab, "ends", True) and paths(lab, "all", False) and paths(lab, ("b", "c"), False)
    with pytest.raises(LabError, match="means no path"):
        paths(Lab("alone"), "all", False)


def test_a_partition_by_role() -> None:
    lab = Told(roles=ROLES)
    NetworkChaos(lab).partition("primary", "replica")
    assert set(lab.asked[-1]["pairs"]) == {("a", "b"), ("a", "c"), ("b", "a"), ("c", "a")}
    NetworkChaos(lab).partition(["client", "primary"], "replica", one_way=True)
    assert set(lab.asked[-1]["pairs"]) == {("client", "b"), ("client", "c"), ("a", "b"), ("a", "c")}


def test_one_host_of_a_role_is_drawn_from_the_seed() -> None:
    def alone(seed: int) -> str:
        lab = Told(roles=ROLES)
        lab.seed = seed
        NetworkChaos(lab).partition_by("isolated", "replica")
        senders = [sender for sender, _ in lab.asked[-1]["pairs"]]
        return max(senders, key=senders.count)

    assert {alone(seed) for seed in range(20)} == {"b", "c"}
    assert alone(3) == alone(3)


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ({"a": ["b"]}, "role 'a' is named as a host is"),
        ({"all": ["b"]}, "role 'all' is named as all hosts is"),
        ({"replica": []}, "role 'replica' has no hosts"),
        ({"replica": ["d"]}, "no host 'd' in this lab"),
    ],
)
def test_roles_that_make_no_sense(roles: dict[str, list[str]], said: str) -> None:
    with pytest.raises(LabError, match=said):
        Told(roles=roles)


def test_hosts_given_as_a_list_are_told_how_they_are_written() -> None:
    with pytest.raises(LabError, match=r"\['a', 'b'\] is no name for a host") as refused:
        Lab(["a", "b"])  # type: ignore[arg-type]
    assert "write Lab('a', 'b')" in str(refused.value)
    with pytest.raises(LabError, match=r"host 'a' stands twice"):
        Lab("a", "a")


def test_what_is_of_one_host_alone_refuses_a_role_of_two() -> None:
    chaos = NetworkChaos(Told(roles=ROLES))
    for act in (chaos.roam, chaos.switch_off):
        with pytest.raises(LabError, match="role 'replica' has 2 hosts"):
            act("replica")
    with pytest.raises(LabError, match="a path from b to itself"):
        chaos.apply_loss(("b", "replica"), 5)
    with pytest.raises(LabError, match="no host 'replika' in this lab"):
        chaos.apply_loss("replika", 5)


def test_a_file_names_roles(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('[hosts.a]\n[hosts.b]\n[roles]\nreplica = ["b"]\n')
    assert read_description(tmp_path / "lab.toml").roles == {"replica": ["b"]}
