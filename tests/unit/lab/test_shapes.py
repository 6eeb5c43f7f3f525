"""Who may not talk to whom: the shapes, exactly (covers: T-1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.randomness import Seed
from blackstart.lab import Impairment, LabError
from blackstart.lab.frames import is_address_resolution, matches
from blackstart.lab.lab import addressed
from blackstart.lab.shapes import Grudge, bridge, halves, isolated, majorities_ring, one_way, random_halves, separated

FIVE = ["1", "2", "3", "4", "5"]


def plain(grudge: Grudge) -> dict[str, str]:
    return {host: "".join(sorted(dropped)) for host, dropped in grudge.items()}


def test_halves_put_the_smaller_one_first() -> None:
    assert plain(halves(FIVE)) == {"1": "345", "2": "345", "3": "12", "4": "12", "5": "12"}


def test_one_host_alone() -> None:
    assert plain(isolated(FIVE, "3")) == {"3": "1245", "1": "3", "2": "3", "4": "3", "5": "3"}


def test_a_bridge_still_talks_to_both_sides() -> None:
    assert plain(bridge(FIVE)) == {"1": "45", "2": "45", "3": "", "4": "12", "5": "12"}


def test_one_way_leaves_the_other_way_alone() -> None:
    assert plain(one_way(["1"], ["2", "3"])) == {"1": "23"}


@given(st.integers(4, 30))
def test_on_a_ring_each_sees_a_majority_and_no_two_the_same(count: int) -> None:
    hosts = [str(number) for number in range(count)]
    grudge = majorities_ring(hosts, Seed(1).source("ring"))
    seen = {host: frozenset(hosts) - grudge[host] for host in hosts}
    assert all(len(view) > count // 2 for view in seen.values())
    assert len(set(seen.values())) == count
    assert all((other in seen[host]) == (host in seen[other]) for host in hosts for other in hosts)


def test_random_halves_are_drawn_from_the_seed() -> None:
    drawn = {tuple(sorted(plain(random_halves(FIVE, Seed(number).source("x"))).items())) for number in range(30)}
    assert len(drawn) > 3
    assert random_halves(FIVE, Seed(3).source("x")) == random_halves(FIVE, Seed(3).source("x"))


def test_impossible_shapes_are_refused() -> None:
    for make in (lambda: halves(["1"]), lambda: bridge(["1", "2"]), lambda: majorities_ring(["1", "2", "3"])):
        with pytest.raises(LabError):
            make()
    with pytest.raises(LabError, match="two groups"):
        separated([["1", "2"], ["2"]])
    with pytest.raises(LabError):
        isolated(FIVE, "6")


def test_each_host_has_an_address_of_its_own_on_each_network() -> None:
    found = addressed({"front": ["a", "b"], "back": ["b", "c"]})
    assert [(i.network, i.address) for i in found["b"]] == [("front", "10.97.0.3"), ("back", "10.98.0.2")]
    many = addressed({"lan": [f"h{number}" for number in range(600)]})
    assert len({i.address for hosts in many.values() for i in hosts}) == 600
    assert len({i.mac for hosts in many.values() for i in hosts}) == 600


@pytest.mark.parametrize("networks", [{}, {"lan": ["a", "a"]}, {"lan": ["a b"]}, {"lan": ["-a"]}, {"lan": [""]},
    {"lan": ["localhost"]}, {"lan": ["All"]}, {"lan": ["A", "a"]}, {"lan": ["10"]}, {"lan": ["0x7f"]},
])  # fmt: skip
def test_names_that_are_none_are_refused(networks: dict[str, list[str]]) -> None:
    with pytest.raises(LabError):
        addressed(networks)
    with pytest.raises(LabError):
        addressed({"lan": [f"h{number}" for number in range(1001)]})


def frame(protocol: int, source: int = 0, target: int = 0, fragment: int = 0) -> memoryview:
    ip = bytes([0x45, 0, 0, 40, 0, 0, fragment >> 8, fragment & 255, 64, protocol]) + bytes(10)
    return memoryview(bytes(12) + b"\x08\x00" + ip + source.to_bytes(2, "big") + target.to_bytes(2, "big") + bytes(16))


def test_a_fault_may_mean_one_protocol_and_one_port() -> None:
    assert matches(frame(6), "", 0) and matches(frame(6), "tcp", 0) and not matches(frame(17), "tcp", 0)
    assert matches(frame(17, target=53), "udp", 53) and matches(frame(17, source=53), "udp", 53)
    assert not matches(frame(17, 1, 2), "udp", 53)
    assert not matches(frame(17, target=53, fragment=5), "udp", 53)
    assert matches(frame(1), "icmp", 0)
    assert not matches(memoryview(b"short"), "tcp", 0)
    assert is_address_resolution(memoryview(bytes(12) + b"\x08\x06" + bytes(28)))
    assert not is_address_resolution(frame(6))
    assert Impairment(protocol="icmp", loss_percent=1).protocol == "icmp"
