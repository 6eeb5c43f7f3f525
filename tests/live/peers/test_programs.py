"""Real clients whose peer goes away and comes back, each beside the twin that gets it wrong.

covers: IF-1, G-2, R-19, R-20, R-21, R-23, SS-3
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import msgspec
import pytest

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.clock import SYSTEM
from blackstart.core.history import DEADLINE, History, Injected, Life
from blackstart.core.verdict import FAILED, Verdict
from blackstart.faults import AnyFault
from blackstart.faults.peer import OUTAGE_S, PARTIAL, REFUSED, RESET, SILENT, Peer
from blackstart.faults.point import Point
from blackstart.faults.scene import RUN, Scene
from blackstart.oracles import alive
from blackstart.targets import Conducted, Patience, Service, parse_ready
from blackstart.trials.company import Company
from tests.live.trials.stage import Stage, printed, staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
PATIENCE = Patience(deadline_s=15.0, hard_s=40.0, work_s=20.0)
JOB = Patience(deadline_s=5.0, hard_s=60.0)
BROKER = "socket:inet:127.0.0.1:1899"
CONFIGURATION = b"listener 1899 127.0.0.1\nallow_anonymous true\npersistence false\n"

# Stores what comes as do/ID, and says done/ID. MODE bad: it subscribes once, and not when it is connected again.
PAHO = """
import signal, sys
import paho.mqtt.client as mqtt
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
def connected(*_):
    if MODE == 'good':
        client.subscribe('do/#', qos=1)
def arrived(client, userdata, message):
    client.publish('done/' + message.topic.partition('/')[2], qos=1)
client.on_connect, client.on_message = connected, arrived
client.on_subscribe = lambda *_: print('subscribed', flush=True)
client.reconnect_delay_set(1, 4)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
client.connect('127.0.0.1', 1899, keepalive=3)
if MODE == 'bad':
    client.subscribe('do/#', qos=1)
client.loop_forever()
"""
# As its manual has it: a loop around the client that connects and subscribes anew.
AIOMQTT = """
import asyncio, signal, sys
import aiomqtt
async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: sys.exit())
    while True:
        try:
            async with aiomqtt.Client('127.0.0.1', 1899, keepalive=3) as client:
                await client.subscribe('do/#')
                print('subscribed', flush=True)
                async for message in client.messages:
                    await client.publish('done/' + str(message.topic).partition('/')[2], qos=1)
        except aiomqtt.MqttError as error:
            print('again:', error, file=sys.stderr, flush=True)
            await asyncio.sleep(1)
asyncio.run(main())
"""
WORK = """
import queue
import paho.mqtt.client as mqtt
answers, ready = queue.Queue(), queue.Queue()
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.on_subscribe = lambda *_: ready.put(1)
client.on_message = lambda c, u, message: answers.put(message.topic.partition('/')[2])
try:
    client.connect('127.0.0.1', 1899)
    client.loop_start()
    client.subscribe('done/#', qos=1)
    ready.get(timeout=4)
    for number in range(2):
        client.publish(f'do/{number}', qos=1)
        while answers.get(timeout=4) != str(number):
            pass
        print(f'ok {number}', flush=True)
except (OSError, queue.Empty):
    print('info answer', flush=True)
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("broker"), files={"broker.conf": CONFIGURATION}) as made:
        keeper = "while :; do /usr/sbin/mosquitto -c broker.conf; sleep 1; done"
        made.bench.companions = (made.command(("/bin/sh", "-c", keeper)),)
        workload = made.command((sys.executable, "-c", WORK))
        made.bench.service = Service(ready=parse_ready("log:subscribed", str(made.cwd)), workload=workload)
        yield made


def judged(stage: Stage, script: str, how: str, nth: int) -> tuple[History, Verdict]:
    """The trial in which the broker is broken at the n-th send of the service, and what `alive` says of it."""
    stage.runs(script)
    history = stage.trial(
        Peer(point=Point(call="sendto", path=BROKER, nth=nth), how=how), patience=PATIENCE, rerun=False
    )
    (injected,) = history.injected
    assert injected.fired, injected.note
    return history, judge(history)


def judge(history: History) -> Verdict:
    chain = (CleanRun(start="S0", code=0, elapsed_s=1.0, life=Life(ready_s=0.5)),)
    (verdict,) = alive.judge(history, Calibration(chain=chain, is_service=True))
    return verdict


@pytest.mark.skipif(not shutil.which("mosquitto", path="/usr/sbin:/usr/bin"), reason="needs mosquitto (not installed)")
@pytest.mark.parametrize(
    ("script", "how", "outcome"),
    [
        ("MODE = 'good'" + PAHO, REFUSED, "passed"),
        ("MODE = 'good'" + PAHO, SILENT, "passed"),
        ("MODE = 'bad'" + PAHO, REFUSED, FAILED),
        ("MODE = 'bad'" + PAHO, SILENT, FAILED),
        ("MODE = 'good'" + PAHO, RESET, "passed"),
        # Connected again within a second, long before the outage of the others would be over.
        ("MODE = 'bad'" + PAHO, RESET, FAILED),
        ("MODE = 'bad'" + PAHO, PARTIAL, FAILED),
        (AIOMQTT, REFUSED, "passed"),
        (AIOMQTT, SILENT, "passed"),
        (AIOMQTT, RESET, "passed"),
    ],
    ids=["paho", "paho and silence", "never subscribes anew", "never, and silence", "paho, reset", "never, and reset",
         "never, and cut", "aiomqtt", "aiomqtt and silence", "aiomqtt, reset"],
)  # fmt: skip
def test_a_broker_that_restarts(stage: Stage, script: str, how: str, outcome: str) -> None:
    history, verdict = judged(stage, script, how, nth=4)
    life = history.runs[0].life
    assert life is not None and life.healed_s > 0, history.runs[0]
    assert verdict.outcome == outcome, (verdict, msgspec.structs.asdict(life))
    if outcome == FAILED:
        assert verdict.consequence == "dead" and "though it is connected again" in verdict.evidence[0]


class Killed:
    """The broker's own process is killed as soon as the service is ready; it is started again a second later."""

    kind, phase, lasting = "peer", RUN, False

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        company = scene.peers()
        assert isinstance(company, Company)
        scene.when_ready.append(lambda: kill_broker(company))
        yield
        end_s = SYSTEM.monotonic() + 60
        while not is_listening(company):
            assert SYSTEM.monotonic() < end_s
            SYSTEM.sleep(0.05)

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        assert conducted.life is not None
        return Injected(fault="the broker is killed", kind=self.kind, fired=int(conducted.life.fired_s > 0))


def kill_broker(company: Company) -> bool:
    pid = company.sandbox.beside_pid(company.numbers[0])
    while Path(f"/proc/{pid}/comm").read_text() != "mosquitto\n":
        (pid,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    os.kill(pid, signal.SIGKILL)
    return True


def is_listening(company: Company) -> bool:
    with company.sandbox.new_socket(socket.AF_INET) as sock:
        return sock.connect_ex(("127.0.0.1", 1899)) == 0


@pytest.mark.skipif(not shutil.which("mosquitto", path="/usr/sbin:/usr/bin"), reason="needs mosquitto (not installed)")
@pytest.mark.parametrize(
    ("script", "outcome"),
    [("MODE = 'good'" + PAHO, "passed"), ("MODE = 'bad'" + PAHO, FAILED), (AIOMQTT, "passed")],
    ids=["paho", "never subscribes anew", "aiomqtt"],
)
def test_a_broker_that_is_killed_and_started_again(stage: Stage, script: str, outcome: str) -> None:
    """Not behind a proxy: what it knew of its clients is gone with it."""
    stage.runs(script)
    history = stage.trial(cast(AnyFault, Killed()), patience=PATIENCE, rerun=False)
    verdict = judge(history)
    life = history.runs[0].life
    assert life is not None and 0 < life.fired_s < life.healed_s, history.runs[0]
    assert verdict.outcome == outcome, (verdict, life)
    if outcome == FAILED:
        assert verdict.consequence == "dead" and "though it is connected again" in verdict.evidence[0]


HTTP = f"""{sys.executable} -c "import http.server as h; h.ThreadingHTTPServer(('127.0.0.1', 8097), \
h.SimpleHTTPRequestHandler).serve_forever()" """
PLAIN = "import requests; s = requests.Session(); [s.get('http://127.0.0.1:8097/') for n in range(3)]; print('done')"
CAREFUL = """
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry
s = requests.Session()
s.mount('http://', HTTPAdapter(max_retries=Retry(total=6, backoff_factor=0.3)))
for number in range(3):
    s.get('http://127.0.0.1:8097/', timeout=1)
print('done')
"""
REDIS = "redis-server --port 6391 --save ''"
STORE = "import redis; r = redis.Redis(port=6391{}); [r.set(f'k{{n}}', n) for n in range(5)]; print('done')"
MODBUS = f"""{sys.executable} -c "import asyncio; from pymodbus.server import StartAsyncTcpServer as S
from pymodbus.simulator import DataType, SimData, SimDevice
device = SimDevice(1, simdata=[SimData(0, values=[7] * 9, datatype=DataType.REGISTERS)])
asyncio.run(S(device, address=('127.0.0.1', 5099)))" """
DEVICE = """
from pymodbus.client import ModbusTcpClient
client = ModbusTcpClient('127.0.0.1', port=5099, timeout=1)
assert client.connect()
for number in range(3):
    client.read_holding_registers(1, count=3)
print('done')
"""
# It connects anew and asks again.
PATIENT_DEVICE = """
import time
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException
client = ModbusTcpClient('127.0.0.1', port=5099, timeout=1)
def read():
    try:
        return client.connect() and not client.read_holding_registers(1, count=3).isError()
    except (ModbusException, OSError):
        return False
for number in range(3):
    for attempt in range(30):
        if read():
            break
        time.sleep(0.2)
    else:
        raise SystemExit('gave up')
print('done')
"""


@pytest.mark.parametrize(
    ("companion", "port", "script", "how", "ends"),
    [
        (HTTP, 8097, PLAIN, SILENT, "hangs"),
        (HTTP, 8097, PLAIN, REFUSED, "ConnectionError"),
        (HTTP, 8097, CAREFUL, SILENT, "done"),
        (HTTP, 8097, CAREFUL, REFUSED, "done"),
        (REDIS, 6391, STORE.format(""), SILENT, "hangs"),
        (REDIS, 6391, STORE.format(""), REFUSED, "done"),
        (REDIS, 6391, STORE.format(""), RESET, "done"),
        (REDIS, 6391, STORE.format(", socket_timeout=1"), SILENT, "done"),
        (REDIS, 6391, STORE.format(", socket_timeout=1"), RESET, "done"),
        (MODBUS, 5099, DEVICE, SILENT, "ConnectionResetError"),
        (MODBUS, 5099, DEVICE, REFUSED, "ConnectionException"),
        (MODBUS, 5099, DEVICE, RESET, "ConnectionResetError"),
        (MODBUS, 5099, DEVICE, PARTIAL, "Connection unexpectedly closed"),
        (MODBUS, 5099, PATIENT_DEVICE, SILENT, "done"),
        (MODBUS, 5099, PATIENT_DEVICE, REFUSED, "done"),
        (MODBUS, 5099, PATIENT_DEVICE, RESET, "done"),
        (MODBUS, 5099, PATIENT_DEVICE, PARTIAL, "done"),
    ],
    ids=["requests", "requests, refused", "with retries", "retries, refused", "redis-py", "redis-py, refused",
         "redis-py, reset", "redis-py with a limit", "with a limit, reset",
         "pymodbus", "pymodbus, refused", "pymodbus, reset", "pymodbus, cut",
         "pymodbus again", "pymodbus again, refused", "pymodbus again, reset", "pymodbus again, cut"],
)  # fmt: skip
def test_what_real_clients_do(
    tmp_path: Path, companion: str, port: int, script: str, how: str, ends: str
) -> None:
    if port == 6391 and not shutil.which("redis-server"):
        pytest.skip("needs redis-server (not installed)")
    with staged(tmp_path, script) as stage:
        stage.bench.companions = (stage.command(("/bin/sh", "-c", companion)),)
        point = Point(call="sendto", path=f"socket:inet:127.0.0.1:{port}", nth=2)
        history = stage.trial(Peer(point=point, how=how, back_s=OUTAGE_S), patience=JOB, rerun=False)
    (injected,) = history.injected
    assert injected.fired, injected.note
    run = history.runs[0]
    if ends == "hangs":
        assert run.end.how == DEADLINE and run.end.wait is not None and run.end.wait.state == "blocked", run.end
    elif ends == "done":
        assert run.end.code == 0 and printed(run) == b"done\n", run
    else:
        assert run.end.code == 1 and ends in run.text("stderr").decode(), run.text("stderr")
