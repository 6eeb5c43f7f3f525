"""A roaming terminal that nobody here wrote, under stress, each line with its limit.

covers: T-2, T-3, T-4, T-5, T-6, T-7, T-8, T-9. After each, what both ends hold is compared: the screen with that of
the same shell without a network, byte for byte, and the server's file with what was typed, so that nothing is lost or
applied twice. The measured times are kept as properties of the tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blackstart.lab import Applied, Lab, NetworkChaos
from tests.live.lab.conftest import fired
from tests.live.lab.terminal import Terminal, direct, roaming

pytestmark = [pytest.mark.live, pytest.mark.needs("mosh-server", "mosh-client", "bash")]
LINK = ("client", "server")
LIMIT_S = 10.0
# What fills a screen, with colours and wide characters, and ends where it began.
PAINT = (
    "clear; for i in $(seq 1 20); do "
    "printf '\\033[3%dm%4d äöü 漢字 %s\\033[0m\\n' $((i%8)) $i abcdef; done; echo END\r"
)

Measured = Callable[[str, float], None]
Screen = list[list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def session(pair: Lab, home: Path) -> Iterator[Terminal]:
    terminal = roaming(pair, home)
    terminal.answers(30)
    yield terminal
    terminal.close()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    terminal = direct(tmp_path_factory.mktemp("reference"))
    terminal.answers(30)
    yield painted(terminal, 30)
    terminal.close()


def painted(terminal: Terminal, limit_s: float) -> Screen:
    """The screen, colours too, after it was painted and has settled."""
    terminal.type(PAINT)
    terminal.until(lambda screen: "END" in screen and screen[screen.index("END") + 1] == "$", limit_s)
    terminal.look(0.1)
    return terminal.cells()


@pytest.fixture
def converged(
    session: Terminal, reference: Screen, chaos: NetworkChaos, home: Path, record_property: Measured
) -> Iterator[Callable[[], None]]:
    """Call it with the fault in place: commands show their results in time, and both ends are as they should be."""
    file = home / "applied"
    file.unlink(missing_ok=True)

    def check() -> None:
        times = [session.answers(LIMIT_S) for _ in range(3)]
        record_property("converged_s", round(max(times), 3))
        session.type("".join(f"echo {number} >> applied\r" for number in range(20)))
        session.answers(LIMIT_S)
        session.type(PAINT)
        session.until(lambda _: session.cells() == reference, LIMIT_S)
        assert file.read_text().split() == [str(number) for number in range(20)]

    yield check


CONDITIONS: dict[str, Callable[[NetworkChaos], Applied]] = {
    "nothing": lambda chaos: chaos.apply_loss(LINK, 0),
    "loss 10 %": lambda chaos: chaos.apply_loss(LINK, 10),
    "loss 30 %": lambda chaos: chaos.apply_profile(LINK, "chaos-loss-30"),
    "loss 50 %": lambda chaos: chaos.apply_profile(LINK, "chaos-loss-50"),
    "delay 100 ms": lambda chaos: chaos.apply_delay(LINK, 100),
    "delay 500 ms": lambda chaos: chaos.apply_profile(LINK, "delay-500"),
    "delay 100 to 500 ms": lambda chaos: chaos.apply_delay(LINK, 300, 200),
    "jitter 100 ms": lambda chaos: chaos.apply_profile(LINK, "jitter-100"),
    "jitter 300 ms": lambda chaos: chaos.apply_profile(LINK, "jitter-300"),
    "reordering": lambda chaos: chaos.apply_profile(LINK, "chaos-reorder"),
    "duplicates": lambda chaos: chaos.apply_profile(LINK, "chaos-duplicate"),
    "triple duplicates": lambda chaos: chaos.apply_duplicate(LINK, 100, copies=3),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_it_converges_and_both_ends_agree(
    session: Terminal, chaos: NetworkChaos, converged: Callable[[], None], name: str
) -> None:
    applied = CONDITIONS[name](chaos)
    converged()
    for _ in range(20):  # of the ten packets that this may take all may have been lucky
        if name == "nothing" or fired(applied):
            break
        session.answers(LIMIT_S)
    assert fired(applied) == (name != "nothing")


@pytest.mark.parametrize("seconds", [5, 10])
def test_it_recovers_from_a_partition(
    session: Terminal, chaos: NetworkChaos, converged: Callable[[], None], record_property: Measured, seconds: float
) -> None:
    with chaos.partition("client", "server") as cut:
        session.type("echo TYPED-$((40+2))\r")  # while nothing gets through
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert "TYPED-42" not in session.look(0.2)
        assert cut.counts()["dropped"] > 0
    record_property("recovered_s", round(session.until(lambda screen: "TYPED-42" in screen, LIMIT_S), 3))
    converged()


def flood(session: Terminal) -> None:
    """Much to transfer, then a mark."""
    session.type("clear; for i in $(seq 1 3000); do echo L$i; done; sleep 0.3; echo D$((40+2))\r")


def test_a_partition_in_mid_transfer_loses_nothing(
    session: Terminal, chaos: NetworkChaos, converged: Callable[[], None]
) -> None:
    flood(session)
    cut = chaos.partition("client", "server", duration_s=2)
    session.until(lambda screen: "D42" in screen and "L3000" in screen, LIMIT_S + 2)
    assert fired(cut)
    converged()


@pytest.mark.parametrize("loss", [0, 50])
def test_it_survives_a_change_of_address_in_mid_transfer(
    session: Terminal, chaos: NetworkChaos, converged: Callable[[], None], record_property: Measured, loss: float
) -> None:
    chaos.apply_loss(LINK, loss)
    flood(session)
    session.look(0.1)
    chaos.roam("client")
    record_property("recovered_s", round(session.until(lambda screen: "D42" in screen, LIMIT_S), 3))
    converged()


def test_it_survives_a_change_of_address_every_two_seconds(
    session: Terminal, chaos: NetworkChaos, converged: Callable[[], None]
) -> None:
    for _ in range(3):
        flood(session)
        chaos.roam("client")
        session.look(2.0)
    session.until(lambda screen: "D42" in screen, LIMIT_S)
    converged()
