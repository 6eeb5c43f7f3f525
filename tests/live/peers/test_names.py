"""Kind dns on real programs: names are found, and each way of failing reaches getaddrinfo as it does in the world.

covers: IF-5
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from blackstart.core.history import EXITED, Run
from blackstart.faults.dns import Dns
from blackstart.gate import Recorder
from blackstart.proxy.resolver import MUTE, NXDOMAIN, SERVFAIL, SLOW, SLOW_S, WRONG
from blackstart.trials.taping import OBSERVED
from tests.live.trials.stage import SHORT, Stage, printed, staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

COMPANION = "import socket, time; s = socket.create_server(('127.0.0.1', 8098)); time.sleep(600)"
CLIENT = "import socket; socket.create_connection(('db.example', 8098)); print('connected')"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("names"), CLIENT) as made:
        made.bench.companions = (made.command((sys.executable, "-c", COMPANION)),)
        yield made


def tried(stage: Stage, how: str) -> Run:
    history = stage.trial(Dns(how=how, back_s=2.0), patience=SHORT, rerun=False)
    (injected,) = history.injected
    assert injected.fired, injected.note
    return history.runs[0]


def test_every_name_means_the_sandbox_itself(stage: Stage) -> None:
    assert printed(stage.trial(rerun=False).runs[0]) == b"connected\n"


def test_the_resolver_is_ours_and_no_peer(stage: Stage) -> None:
    bench = stage.bench
    with bench.image_from("S0") as image, bench.zygote.sandbox(image) as sandbox:
        recorder = Recorder(mask=bench.masker)
        run, seen = bench.start(sandbox, image, "clean", calls=OBSERVED, recorder=recorder)
    assert printed(run) == b"connected\n" and bench.questions > 0
    assert bench.peers == {"socket:inet:127.0.0.1:8098": "tcp"}, [o.masked for o in seen.trace if o.call == "connect"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (NXDOMAIN, "Name or service not known"),
        (SERVFAIL, "Temporary failure in name resolution"),
        (WRONG, "Network is unreachable"),
    ],
)
def test_what_an_answer_is_to_the_program(stage: Stage, how: str, said: str) -> None:
    run = tried(stage, how)
    assert run.end.code == 1 and said in run.text("stderr").decode()


@pytest.mark.parametrize(("how", "wait_s"), [(SLOW, SLOW_S), (MUTE, 4.0)])
def test_one_that_waits_gets_its_answer_in_the_end(stage: Stage, how: str, wait_s: float) -> None:
    run = tried(stage, how)
    assert run.end.how == EXITED and printed(run) == b"connected\n" and run.end.elapsed_s >= wait_s
