"""Which faults the kernel is given: the only one on all that goes to a host, if netem can do it."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from blackstart.core.randomness import Seed
from blackstart.lab import Impairment
from blackstart.lab.kernel_engine import Kernel
from blackstart.lab.qdisc import options
from blackstart.lab.relay import Entry, Port
from blackstart.lab.rtnetlink import Netlink
from blackstart.lab.shortcuts import RULES_MAX, RULES_OF_PORT_MAX, Shortcuts

LOSS, DELAY, PICKY = Impairment(loss_percent=5), Impairment(delay_ms=5), Impairment(loss_percent=5, when="@3")


class Asked:
    """Stands for a netlink socket; `said` is what was asked of it."""

    def __init__(self, has_netem: bool = True) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.has_netem = has_netem

    def set_netem(self, index: int, wanted: bytes) -> None:
        if not self.has_netem:
            raise FileNotFoundError
        self.said.append((index, wanted))

    def netem_counts(self, index: int) -> tuple[int, int]:
        return 10 * len(self.said), len(self.said)

    def redirect(self, *rule: Any) -> None:
        self.said.append(("redirect", *rule))

    def redirect_no_more(self, *rule: Any) -> None:
        self.said.append(("no more", *rule))
        raise OSError("the host is gone")


def ports(*hosts: str, has_tap: bool = True) -> list[Port]:
    return [
        cast(Port, SimpleNamespace(host=h, network="lan", number=n, index=100 + n, mac=bytes([n] * 6), has_tap=has_tap))
        for n, h in enumerate(hosts)
    ]


class Hashable(SimpleNamespace):
    __hash__ = object.__hash__


def made(*hosts: str, has_tap: bool = True) -> list[Port]:
    return [cast(Port, Hashable(**vars(port))) for port in ports(*hosts, has_tap=has_tap)]


def given(hosts: str, *faults: tuple[Impairment | None, list[str]], has_tap: bool = True) -> dict[str, int]:
    """host -> number of the fault that netem is given there; each fault with its pairs, as `ab` for a to b."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for number, (wish, pairs) in enumerate(faults):
        entry = Entry(number, frozenset((a, b) for a, b in pairs), wish, Seed(1))
        for a, b in pairs:
            found.setdefault((a, b), []).append(entry)
    kernel = Kernel(cast(Netlink, Asked()), Seed(1))
    return {port.host: one.number for port, one in kernel.arrange(made(*hosts, has_tap=has_tap), found).items()}


@pytest.mark.parametrize(
    ("hosts", "faults", "expected"),
    [
        ("ab", [(LOSS, ["ab", "ba"])], {"a": 0, "b": 0}),
        ("ab", [(LOSS, ["ab"])], {"b": 0}),
        ("abc", [(LOSS, ["ab"])], {}),
        ("abc", [(LOSS, ["ab", "cb"])], {"b": 0}),
        ("ab", [(LOSS, ["ab"]), (DELAY, ["ab"])], {}),
        ("ab", [(LOSS, ["ab"]), (DELAY, ["ba"])], {"a": 1, "b": 0}),
        ("ab", [(None, ["ab"])], {}),
        ("ab", [(PICKY, ["ab", "ba"])], {}),
        ("ab", [], {}),
    ],
)
def test_the_kernel_is_given_what_it_can_do_alone(
    hosts: str, faults: list[tuple[Impairment | None, list[str]]], expected: dict[str, int]
) -> None:
    assert given(hosts, *faults) == expected


def test_without_a_redirection_nothing_reaches_the_kernels_netem() -> None:
    assert given("ab", (LOSS, ["ab"]), has_tap=False) == {}


def test_a_healed_fault_leaves_netem_there_and_plain_and_counts_are_its_own() -> None:
    asked = Asked()
    kernel = Kernel(cast(Netlink, asked), Seed(1))
    both = made("a", "b")
    assert kernel.works(both[1])
    entry = Entry(3, frozenset({("a", "b")}), LOSS, Seed(1))
    kernel.arrange(both, {("a", "b"): [entry]})
    assert entry.counts()["seen"] == 10 and entry.counts()["dropped"] == 1
    kernel.arrange(both, {})
    assert [index for index, _ in asked.said] == [101, 101, 101]
    assert asked.said[0][1] == asked.said[2][1] == options(Impairment()) != asked.said[1][1]


def test_a_kernel_without_netem_says_so() -> None:
    assert not Kernel(cast(Netlink, Asked(has_netem=False)), Seed(1)).works(made("a")[0])


def test_shortcuts_are_opened_and_closed_by_pair_and_a_host_that_is_gone_stops_nothing() -> None:
    asked = Asked()
    shortcuts = Shortcuts(cast(Netlink, asked), 0)
    a, b = made("a", "b")
    for pair in ((a, b), (b, a), (a, b)):
        shortcuts.open(*pair)
    assert asked.said == [("redirect", 100, 101, 2, b.mac), ("redirect", 101, 100, 1, a.mac)]
    for _ in range(2):
        shortcuts.close_unless(lambda port, _: port is b)
    assert asked.said[2:] == [("no more", 100, 2)]
    shortcuts.open(a, b)
    assert asked.said[3:] == [("redirect", 100, 101, 2, b.mac)]


def test_who_talks_to_everybody_gets_a_bounded_number_of_shortcuts() -> None:
    asked = Asked()
    shortcuts = Shortcuts(cast(Netlink, asked), 0)
    ports = made(*(f"h{number}" for number in range(100)))
    for port in ports:
        for target in ports:
            if target is not port:
                shortcuts.open(port, target)
    assert len(asked.said) == RULES_MAX
    assert max(Counter(index for _, index, *_ in asked.said).values()) == RULES_OF_PORT_MAX
