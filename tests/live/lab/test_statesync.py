"""The example protocol under stress: the correct one converges every time, each classic mistake is caught.

covers: T-2, T-3, T-4, T-5, T-6, T-7, T-8, T-9. What both ends hold is compared with what each was told to write.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blackstart.lab import Applied, Lab, NetworkChaos
from tests.live.lab.conftest import fired, until

pytestmark = pytest.mark.live
PROGRAM = Path(__file__).parents[3] / "examples" / "statesync" / "statesync.py"
LINK = ("client", "server")
ENTRIES = 120
PORTS = itertools.count(9000)  # each run its own: what the link still holds back of one must not reach the next


def everything(chaos: NetworkChaos) -> Applied:
    """All that a roaming client meets at once."""
    chaos.apply_loss(LINK, 30)
    chaos.apply_delay(LINK, 40, 30)
    return chaos.apply_duplicate(LINK, 20, copies=2)


CONDITIONS: dict[str, Callable[[NetworkChaos], Applied]] = {
    "loss 10 %": lambda chaos: chaos.apply_loss(LINK, 10),
    "loss 30 %": lambda chaos: chaos.apply_loss(LINK, 30),
    "loss 50 %": lambda chaos: chaos.apply_loss(LINK, 50),
    "100 ms": lambda chaos: chaos.apply_delay(LINK, 100),
    "500 ms": lambda chaos: chaos.apply_delay(LINK, 500),
    "100 to 500 ms": lambda chaos: chaos.apply_delay(LINK, 300, 200),
    "±300 ms": lambda chaos: chaos.apply_profile(LINK, "jitter-300"),
    "±100 ms": lambda chaos: chaos.apply_delay(LINK, 110, 100),
    "reordering": lambda chaos: chaos.apply_reorder(LINK, 30, delay_ms=60),
    "duplicates": lambda chaos: chaos.apply_duplicate(LINK, 50),
    "triple duplicates": lambda chaos: chaos.apply_duplicate(LINK, 100, copies=3),
    "everything": everything,
}  # fmt: skip


def run(
    lab: Lab, place: Path, mistake: str = "", meanwhile: Callable[[], object] = lambda: None, *,
    limit_s: float = 120.0, client_entries: int = ENTRIES, every_s: float = 0.004,
) -> list[str]:  # fmt: skip
    """What is wrong after both ends have talked: nothing, if they converged to what they should."""
    port = next(PORTS)
    results = {name: place / f"{name}-{port}.json" for name in LINK}
    entries = {"client": client_entries, "server": ENTRIES}
    server_words, client_words = (
        [f"--entries={entries[name]}", f"--expect={entries[other]}", f"--result={results[name]}", f"--every={every_s}",
         f"--mistake={mistake}"]
        for name, other in (LINK[::-1], LINK)
    )  # fmt: skip
    base = [sys.executable, str(PROGRAM)]
    server = lab["server"].popen([*base, "serve", str(port), *server_words])
    lab["server"].wait_listening(port, "udp", process=server)
    client = lab["client"].popen([*base, "connect", lab["server"].address, str(port), *client_words])
    meanwhile()
    end = time.monotonic() + limit_s
    for process in (client, server):
        try:
            process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(20)
    wrong = []
    for name, other in (LINK, LINK[::-1]):
        theirs = json.loads(results[name].read_text())["theirs"]
        reference = [f"{other}-{number}" for number in range(entries[other])]
        if theirs != reference:
            wrong.append(f"{name} has {len(theirs)} of {len(reference)} entries, or others")
    return wrong


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_correct_one_converges(pair: Lab, chaos: NetworkChaos, tmp_path: Path, name: str) -> None:
    applied = CONDITIONS[name](chaos)
    assert run(pair, tmp_path) == []
    assert fired(applied)


def test_twenty_of_twenty(pair: Lab, chaos: NetworkChaos, tmp_path: Path) -> None:
    everything(chaos)
    with ThreadPoolExecutor(5) as pool:
        wrong = list(pool.map(lambda _: run(pair, tmp_path), range(20)))
    assert wrong == [[]] * 20


@pytest.mark.parametrize("seconds", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_a_partition_in_mid_transfer_loses_nothing(
    pair: Lab, chaos: NetworkChaos, tmp_path: Path, seconds: float
) -> None:
    cuts = []
    cut = lambda: cuts.append(chaos.partition("client", "server", duration_s=seconds))  # noqa: E731
    assert run(pair, tmp_path, meanwhile=cut) == []
    assert fired(cuts[0])


def roams(chaos: NetworkChaos, times: int) -> None:
    """In mid-transfer, however slow the machine is: each time when a few more packets have passed."""
    passed = chaos.apply_loss(LINK, 0)
    for number in range(1, times + 1):
        until(lambda: passed.counts()["seen"] >= 6 * number)  # noqa: B023
        chaos.roam("client")


@pytest.mark.parametrize("loss", [0, 50])
def test_an_address_change_in_mid_transfer_loses_nothing(
    pair: Lab, chaos: NetworkChaos, tmp_path: Path, loss: float
) -> None:
    chaos.apply_loss(LINK, loss)
    assert run(pair, tmp_path, meanwhile=lambda: roams(chaos, 2), every_s=0.02) == []


@pytest.mark.parametrize(
    ("mistake", "condition"),
    [("not-idempotent", "triple duplicates"), ("no-sequence", "loss 30 %")],
)
def test_mistakes_of_order_are_caught(
    pair: Lab, chaos: NetworkChaos, tmp_path: Path, mistake: str, condition: str
) -> None:
    CONDITIONS[condition](chaos)
    assert run(pair, tmp_path, mistake, limit_s=6) != []


def test_answering_to_the_first_address_for_ever_is_caught(pair: Lab, chaos: NetworkChaos, tmp_path: Path) -> None:
    meanwhile = lambda: roams(chaos, 1)  # noqa: E731
    assert run(pair, tmp_path, "no-address-update", meanwhile, limit_s=6, every_s=0.02) != []
    assert run(pair, tmp_path, "", meanwhile, every_s=0.02) == []


def test_silence_after_an_address_change_is_caught(pair: Lab, chaos: NetworkChaos, tmp_path: Path) -> None:
    """Where only the server has news, it must hear from the client to know where that is now."""

    def meanwhile() -> None:
        passed = chaos.apply_loss(LINK, 0)
        until(lambda: passed.counts()["seen"] >= 6)
        # The client has long answered what it got last when it moves: that answer would tell its new address.
        with chaos.partition("server", "client", one_way=True) as cut:
            until(lambda: cut.counts()["dropped"] >= 20)
            chaos.roam("client")

    assert run(pair, tmp_path, "no-heartbeat", meanwhile, limit_s=6, client_entries=0, every_s=0.02) != []
    assert run(pair, tmp_path, "", meanwhile, client_entries=0, every_s=0.02) == []
