"""HTTP clients that nobody here wrote, as they come and with a limit and another try, when their server fails.

covers: M-24, IF-1, R-20, R-21
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from blackstart.core.history import DEADLINE
from blackstart.faults.peer import OUTAGE_S, PARTIAL, REFUSED, RESET, SILENT, Peer
from blackstart.faults.point import Point
from blackstart.targets import Patience
from tests.live.trials.stage import Stage, printed, staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
JOB = Patience(deadline_s=5.0, hard_s=60.0)
ADDRESS = "socket:inet:127.0.0.1:8094"
# An answer is one write, much more body than head: half of it is a head and some body.
SERVER = r"""
import socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            while (line := self.rfile.readline()) not in (b'\r\n', b''):
                pass
            if not line:
                return
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n' + b'x' * 6000)
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
Server(('127.0.0.1', 8094), Handler).serve_forever()
"""
# Each asks three times, and says how much it got.
HEAD = "import asyncio, time\nURL = 'http://127.0.0.1:8094/'\n"
AGAIN = """
def again(ask):
    for attempt in range(40):
        try:
            return ask()
        except Exception as error:
            caught = error
            time.sleep(0.1)
    raise caught
"""
URLLIB = HEAD + "import urllib.request as u\nfor n in range(3): print(len(u.urlopen(URL).read()), flush=True)"
URLLIB_AGAIN = (
    HEAD + AGAIN + "import urllib.request as u\n"
    "for n in range(3): print(again(lambda: len(u.urlopen(URL, timeout=1).read())), flush=True)"
)
REQUESTS = HEAD + "import requests\nfor n in range(3): print(len(requests.get(URL).content), flush=True)"
RETRY = HEAD + (
    "import requests\nfrom requests.adapters import HTTPAdapter\nfrom urllib3.util import Retry\n"
    "s = requests.Session()\ns.mount('http://', HTTPAdapter(max_retries=Retry(total=6, backoff_factor=0.3)))\n"
    "for n in range(3): print(len(s.get(URL, timeout=1).content), flush=True)"
)
REQUESTS_AGAIN = (
    HEAD + AGAIN + "import requests\n"
    "for n in range(3): print(again(lambda: len(requests.get(URL, timeout=1).content)), flush=True)"
)
HTTPX = HEAD + "import httpx\nwith httpx.Client() as c:\n for n in range(3): print(len(c.get(URL).content), flush=True)"
HTTPX_AGAIN = (
    HEAD + AGAIN + "import httpx\nwith httpx.Client(timeout=1) as c:\n"
    " for n in range(3): print(again(lambda: len(c.get(URL).content)), flush=True)"
)
AIOHTTP = (
    HEAD
    + """
import aiohttp
async def ask(session):
    async with session.get(URL) as answer:
        return len(await answer.read())
async def main():
    async with aiohttp.ClientSession(OPTIONS) as session:
        for n in range(3):
            print(await DO, flush=True)
"""
)
AIOHTTP_PLAIN = AIOHTTP.replace("OPTIONS", "").replace("DO", "ask(session)") + "asyncio.run(main())"
AIOHTTP_AGAIN = (
    AIOHTTP.replace("OPTIONS", "timeout=aiohttp.ClientTimeout(total=1)").replace("DO", "again(session)")
    + """
async def again(session):
    for attempt in range(40):
        try:
            return await ask(session)
        except (aiohttp.ClientError, TimeoutError) as error:
            caught = error
            await asyncio.sleep(0.1)
    raise caught
asyncio.run(main())
"""
)
SCRIPTS = {
    "urllib": URLLIB,
    "urllib again": URLLIB_AGAIN,
    "requests": REQUESTS,
    "requests with Retry": RETRY,
    "requests again": REQUESTS_AGAIN,
    "httpx": HTTPX,
    "httpx again": HTTPX_AGAIN,
    "aiohttp": AIOHTTP_PLAIN,
    "aiohttp again": AIOHTTP_AGAIN,
}
HANGS, WAITS, DONE = "hangs", "waits", "done"
WELL = (DONE,) * 4
HOWS = (SILENT, REFUSED, RESET, PARTIAL)
# How each ends where the server is silent, refuses, resets, and cuts its answer: or what it says last.
ENDS = {
    "urllib": (HANGS, "Error|Disconnected", "ConnectionResetError", "IncompleteRead"),
    "urllib again": WELL,
    "requests": (HANGS, "ConnectionError", "ChunkedEncodingError", "ChunkedEncodingError"),
    # It tries again until an answer has begun, and no more.
    "requests with Retry": (DONE, DONE, "ChunkedEncodingError", "ChunkedEncodingError"),
    "requests again": WELL,
    "httpx": ("ReadTimeout", "httpx", "ReadError", "RemoteProtocolError"),
    "httpx again": WELL,
    # For five minutes.
    "aiohttp": (WAITS, "aiohttp", "ClientPayloadError", "ClientPayloadError"),
    "aiohttp again": WELL,
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("http")) as made:
        made.bench.companions = (made.command((sys.executable, "-c", SERVER)),)
        yield made


# Whoever asks again meets a reset as he meets a cut.
CASES = [(name, how) for name in SCRIPTS for how in HOWS if how != RESET or ENDS[name] != WELL]


@pytest.mark.parametrize(("name", "how"), CASES)
def test_what_http_clients_do(stage: Stage, name: str, how: str) -> None:
    stage.runs(SCRIPTS[name])
    point = Point(call="sendto", path=ADDRESS, nth=2)
    history = stage.trial(Peer(point=point, how=how, back_s=OUTAGE_S), patience=JOB, rerun=False)
    (injected,) = history.injected
    assert injected.fired, injected.note
    run = history.runs[0]
    end = ENDS[name][HOWS.index(how)]
    if end in (HANGS, WAITS):
        assert run.end.how == DEADLINE and run.end.wait is not None, run
        assert run.end.wait.state == ("blocked" if end == HANGS else "timed"), run.end.wait
    elif end == DONE:
        assert run.end.code == 0 and printed(run) == b"6000\n" * 3, run
    else:
        last = run.text("stderr").decode().strip().rpartition("\n")[2]
        assert run.end.code == 1 and re.search(end, last), run
