"""The lab's faults keep the promises of `check_fault`: met while they are there, gone afterwards, however they end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise

import pytest

from blackstart.lab import Burst, Impairment, Lab, NetworkChaos
from blackstart.testing import check_fault, check_value

from .traffic import measure

pytestmark = pytest.mark.live
LINK = ("client", "server")
VALUES = [Impairment(delay_ms=5.0, loss_percent=1.5), Burst(enter_percent=1.0, leave_percent=30.0)]
FAULTS: dict[str, Callable[[NetworkChaos], AbstractContextManager[object]]] = {
    "delay": lambda chaos: chaos.apply(LINK, Impairment(delay_ms=1200)),
    "loss": lambda chaos: chaos.apply(LINK, Impairment(loss_percent=100)),
    "partition": lambda chaos: chaos.partition("client", "server"),
    "shape": lambda chaos: chaos.partition_by("isolated", "client"),
}
# Met by some of several datagrams: they are lost, doubled or overtaken.
PARTLY: dict[str, Impairment] = {
    "rate": Impairment(rate_kbit=64, queue_packets=2),
    "reorder": Impairment(delay_ms=100, reorder_percent=50),
    "duplicate": Impairment(duplicate_percent=50),
    "corrupt": Impairment(corrupt_percent=50),
}
# Nobody listens: refused within the second where the packets come through, and not where a fault is.
ASK = "import socket; s = socket.socket(); s.settimeout(1); print(s.connect_ex(('server', 9)))"


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_values_of_the_lab(value: object) -> None:
    check_value(lambda: value)


@pytest.mark.parametrize("name", FAULTS)
def test_the_faults_of_the_lab(name: str, pair: Lab, chaos: NetworkChaos) -> None:
    @contextmanager
    def injected() -> Iterator[None]:
        with FAULTS[name](chaos):
            yield

    check_fault(injected, lambda: pair["client"].run([sys.executable, "-c", ASK]).stdout)


@pytest.mark.parametrize("name", PARTLY)
def test_the_faults_that_some_packets_meet(name: str, pair: Lab, chaos: NetworkChaos) -> None:
    @contextmanager
    def injected() -> Iterator[None]:
        with chaos.apply(LINK, PARTLY[name]):
            yield

    def arrived() -> tuple[list[int], bool]:
        """Which ones, and whether any was overtaken by more than the few that may be when a link changes its way."""
        numbers = measure(pair["client"], pair["server"], count=30, per_second=200, quiet_s=1.0).numbers
        return sorted(numbers), any(before - after > 5 for before, after in pairwise(numbers))

    check_fault(injected, arrived)
