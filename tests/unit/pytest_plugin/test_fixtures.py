"""The fixtures do what their mechanisms do, and undo it at the end of the test; some in sessions of their own.

covers: R-3, R-33, M-5, M-19
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blackstart import inprocess

SAVER = """
import os

def save(path, text):
    with open(path + ".part", "w") as file:
        # failpoint: saver-write
        file.write(text)
    # failpoint: saver-rename
    os.replace(path + ".part", path)
"""


@pytest.fixture
def saver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module with two failpoints."""
    (tmp_path / "saver.py").write_text(SAVER)
    monkeypatch.syspath_prepend(tmp_path)
    import saver  # type: ignore[import-not-found]

    yield saver
    sys.modules.pop("saver")


def test_failpoints_hold_to_the_end_of_the_test(saver: Any, failpoints: Any, tmp_path: Path) -> None:
    point = failpoints.arm("saver-rename", "@1 raise(OSError: EIO)")
    with pytest.raises(OSError, match="Input/output"):
        saver.save(str(tmp_path / "f"), "text")
    assert point.fired == 1


def test_nothing_is_left_armed_by_the_test_before() -> None:
    assert inprocess.active() == []


def test_a_sweep_from_the_fixture(saver: Any, sweep: Any, tmp_path: Path) -> None:
    path = tmp_path / "f"
    runs = 0
    for fault in sweep(["saver-write", "saver-rename"]):
        runs += 1
        path.write_text("old")
        with fault:
            try:
                saver.save(str(path), "new")
            except OSError:
                pass
        assert path.read_text() in ("old", "new")
    assert runs == 6


def test_faulty_files_and_sqlite(faulty: Any, files: SimpleNamespace, sqlite: SimpleNamespace, tmp_path: Path) -> None:
    stack: Any = faulty([1, 2], {"pop": "raise(IndexError)"})
    with pytest.raises(IndexError):
        stack.pop()
    (tmp_path / "f").write_text("text")
    with files.garbage(tmp_path / "f"):
        assert (tmp_path / "f").read_bytes() != b"text"
    with closing(sqlite3.connect(tmp_path / "db")) as connection, connection:
        connection.execute("CREATE TABLE t (x)")
    with sqlite.header_lost(tmp_path / "db"):
        assert sqlite.fault_of(tmp_path / "db") == "file is not a database"
    assert sqlite.fault_of(tmp_path / "db") == ""


def test_limits_bite_and_come_back(limits: Any, leaks: Any) -> None:
    held = []
    with limits(descriptors=64), pytest.raises(OSError, match="Too many open files"):
        while True:
            held.append(os.dup(0))
    for descriptor in held:
        os.close(descriptor)
    os.close(os.dup(0))
    with pytest.raises(inprocess.NotArmable, match="did you mean 'descriptors'"), limits(descriptor=3):
        pass


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that answers each line with eight bytes; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(peer: socket.socket) -> None:
            with peer, suppress(ConnectionError):
                while peer.recv(100):
                    peer.sendall(b"12345678")

        def accept() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(peer,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def ask(host: str, port: int, limit_s: float = 30.0) -> str:
    """What a client sees: the answer, or how it failed."""
    try:
        with socket.create_connection((host, port), timeout=limit_s) as connection:
            connection.sendall(b"?")
            answer = connection.recv(100)
            if answer and len(answer) < 8:
                answer += connection.recv(100)
            return answer.decode()
    except OSError as error:
        return type(error).__name__


def test_a_link_breaks_in_each_way_and_is_healthy_again(link: Callable[[str], Any], echo: str) -> None:
    """covers: R-3"""
    device = link(echo)

    def seen(limit_s: float = 30.0) -> str:
        return ask(device.host, device.port, limit_s)

    assert seen() == "12345678"
    with device.refused():
        assert seen() == "ConnectionRefusedError"
    with device.silent():
        assert seen(0.3) == "TimeoutError"
    with device.reset():
        assert seen() in ("ConnectionResetError", "BrokenPipeError")
    with device.partial(3):
        assert seen() == "123"
    with device.failing(0.5):
        assert {seen() == "12345678" for _ in range(40)} == {True, False}
    assert seen() == "12345678"


def test_a_link_fails_at_its_rate_as_the_seed_draws(tmp_path: Path) -> None:
    """covers: R-3"""
    server = Path(__file__).read_text(encoding="utf-8")
    begin, end = server.index("@pytest.fixture\ndef echo"), server.index("def test_a_link_breaks")
    test = (
        "import socket, threading\nfrom contextlib import suppress\nfrom collections.abc import Iterator\n"
        "import pytest\n\n" + server[begin:end] + "def test_it(link, echo):\n    device = link(echo)\n"
        "    with device.failing(0.5):\n"
        "        print('drawn', [int(ask(device.host, device.port) == '12345678') for _ in range(30)])\n"
    )
    drawn = [
        [line for line in session(tmp_path, test, "-s", "--blackstart-seed", seed).splitlines() if "drawn" in line]
        for seed in ("1", "1", "2")
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0]


@pytest.mark.parametrize("way", ["refused", "silent", "reset"])
def test_a_link_is_healthy_again_on_the_clock_of_who_waits_for_it(
    way: str, link: Callable[[str], Any], echo: str, clock: Any
) -> None:
    """covers: R-3, R-33"""
    device = link(echo)
    tries = 0
    with getattr(device, way)(for_s=3600):
        while ask(device.host, device.port, 1.5) != "12345678":
            tries += 1
            time.sleep(600)
    assert tries == 6
    assert 3600 <= clock.skipped_s < 4200


def test_a_lock_is_over_on_the_clock_of_who_tries_again(sqlite: SimpleNamespace, clock: Any, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table jobs(id)")
    connection.close()
    tries = 0
    with sqlite.locked(path, for_s=3600):
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        while True:
            try:
                connection.execute("insert into jobs values (1)")
                break
            except sqlite3.OperationalError:
                tries += 1
                time.sleep(600)
        connection.close()
    # The other process is told to end after the sixth; that it has ended takes true time.
    assert tries >= 6


def test_a_whole_async_program_times_out_and_tries_again_without_a_wait(
    link: Callable[[str], Any], echo: str, clock: Any
) -> None:
    """covers: R-33"""
    device = link(echo)
    clock.patience_s = 2.0  # in which a busy machine has brought a true answer

    async def read() -> bytes:
        reader, writer = await asyncio.open_connection(device.host, device.port)
        try:
            writer.write(b"?")
            return await asyncio.wait_for(reader.read(100), 3600)
        finally:
            writer.close()

    async def read_until_it_answers() -> tuple[bytes, int]:
        for failures in range(10):
            try:
                return await read(), failures
            except TimeoutError:
                await asyncio.sleep(3600)
        return b"", 10

    with device.silent(for_s=3 * 3600):
        assert asyncio.run(read_until_it_answers()) == (b"12345678", 2)


def session(tmp_path: Path, test: str, *options: str) -> str:
    """What pytest prints about this test in a session of its own."""
    (tmp_path / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    return done.stdout + done.stderr


def test_what_never_fired_and_what_leaks_fails_a_test(tmp_path: Path) -> None:
    shown = session(
        tmp_path,
        "import os, json, threading\n"
        "def test_misses(failpoints):\n    failpoints.call('json.loads', '@5 raise(ValueError)')\n    json.loads('1')\n"
        "def test_fails_anyway(failpoints):\n    failpoints.call('json.loads', '@5 raise(ValueError)')\n    assert 0\n"
        "import pytest\ndef test_skips(failpoints):\n    failpoints.call('json.loads', 'hang')\n    pytest.skip('no')\n"
        "def test_keeps(faulty):\n    faulty(json, {'loads': '@5 raise(ValueError)'}).loads('1')\n"
        "def test_may_miss(faulty):\n    faulty(json, {'loads': '@5 raise(ValueError)'}, may_miss=True)\n"
        "def test_leaks(leaks):\n    os.dup(0)\n"
        "def test_clean(leaks):\n    os.close(os.dup(0))\n",
    )
    assert "json.loads never fired" in shown
    assert "the place was reached 1 time" in shown
    assert "left behind: descriptor" in shown
    assert "a faulty module never fired" in shown
    assert "1 failed, 5 passed, 1 skipped, 3 errors" in shown


def test_what_was_made_and_never_used_fails_a_test(tmp_path: Path) -> None:
    shown = session(
        tmp_path,
        "import sys\n"
        "def test_file(files, tmp_path):\n    (tmp_path / 'a').write_text('a')\n    files.empty(tmp_path / 'a')\n"
        "def test_link(link):\n    link('127.0.0.1:1').refused()\n"
        "def test_limit(limits):\n    limits(descriptors=64)\n"
        "def test_toxic(proxy):\n    proxy('127.0.0.1:1').toxic('timeout', timeout=0)\n"
        "def test_down(proxy):\n    proxy('127.0.0.1:1').down()\n"
        "def test_after(clock):\n    clock.after(30, print)\n"
        "def test_sweep(sweep):\n    sweep('save-write')\n"
        "def test_calls(target):\n    target.sweep('fsync')\n"
        "def test_cut(power_loss, tmp_path):\n    power_loss(['touch', 'a'], state=tmp_path)\n"
        "def test_call(target):\n    target.fail('fsync', 'raise(OSError: EIO)')\n"
        "def test_file_fails(files, tmp_path):\n    files.empty(tmp_path / 'a')\n    assert 0\n"
        "def test_may_miss(target):\n    target.fail('fsync', 'raise(OSError: EIO)', may_miss=True)\n"
        "def test_block(proxy, clock):\n    with proxy('127.0.0.1:1').down(), clock.after(30, print):\n        pass\n"
        "def test_entered(files, tmp_path):\n    (tmp_path / 'a').write_text('a')\n"
        "    with files.empty(tmp_path / 'a') as path:\n        assert not path.read_text()\n",
    )
    for what in ("files.empty", "link.refused", "limits", "proxy.toxic", "proxy.down", "clock.after"):
        assert f"{what}(...) was never entered, so it broke nothing" in shown
    for what in ("a sweep", "a sweep of system calls", "a power cut"):
        assert f"{what} was made and never run, so it broke nothing" in shown
    assert "never fired: no program was run after it" in shown
    assert "1 failed, 13 passed, 10 errors" in shown


def test_two_workers_may_arm_one_name_and_other_plugins_work_beside(tmp_path: Path) -> None:
    (tmp_path / "saver.py").write_text(SAVER)
    test = (
        "import pytest, saver\n"
        "@pytest.mark.timeout(60)\n"
        "@pytest.mark.parametrize('n', range(6))\n"
        "def test_one(failpoints, tmp_path, n):\n"
        "    failpoints.arm('saver-write', '@1 raise(OSError: ENOSPC)')\n"
        "    with pytest.raises(OSError):\n        saver.save(str(tmp_path / 'f'), 'x')\n"
    )
    assert "6 passed" in session(tmp_path, test, "-n", "2")


def test_an_interrupted_session_leaves_nothing_armed(tmp_path: Path) -> None:
    test = (
        "import json, pytest\nfrom blackstart import inprocess\n"
        "def test_interrupted(failpoints):\n"
        "    failpoints.call('json.loads', 'raise(KeyboardInterrupt)')\n    json.loads('1')\n"
    )
    (tmp_path / "conftest.py").write_text(
        "def pytest_unconfigure():\n"
        "    from blackstart import inprocess\n    print('still armed:', inprocess.active())\n"
    )
    shown = session(tmp_path, test)
    assert "KeyboardInterrupt" in shown
    assert "still armed: []" in shown


def test_a_failpoint_in_a_test_file_itself_whose_assertions_are_rewritten(tmp_path: Path) -> None:
    test = (
        "import pytest\n\n"
        "def save(kept, value):\n    assert isinstance(kept, list), 'a list'\n    # failpoint: in-test-file\n"
        "    kept.append(value)\n\n"
        "def test_it(failpoints):\n    failpoints.arm('in-test-file', '@1 raise(OSError: EIO)')\n    kept = []\n"
        "    with pytest.raises(OSError):\n        save(kept, 1)\n    save(kept, 2)\n    assert kept == [2]\n"
    )
    assert "1 passed" in session(tmp_path, test)


def test_a_coroutine_in_a_test_file(tmp_path: Path) -> None:
    test = (
        "import asyncio, json, pytest\n\n"
        "async def fetch():\n    # failpoint: in-coroutine\n    return 1\n\n"
        "def test_it(failpoints):\n    failpoints.arm('in-coroutine', '@1 return(2)')\n"
        "    assert [asyncio.run(fetch()) for _ in range(2)] == [2, 1]\n"
    )
    assert "1 passed" in session(tmp_path, test)


def test_failpoints_make_no_directory_that_nobody_needs(tmp_path: Path) -> None:
    test = (
        "import json, os, pytest, sys\n\n"
        "@pytest.fixture\ndef tmp_path():\n    pytest.fail('a replaced file system has no such directory')\n\n"
        "def test_it(failpoints):\n    failpoints.call('json.loads', 'raise(KeyError)')\n"
        "    with pytest.raises(KeyError):\n        json.loads('1')\n\n"
        "def test_children(failpoints):\n    failpoints.in_children({'a': 'off'}, may_miss=True)\n"
    )
    assert "2 passed" in session(tmp_path, test)


def test_what_is_kept_of_a_fixture_refuses_to_work_after_its_test(tmp_path: Path) -> None:
    test = (
        "import json, pytest\nfrom blackstart import inprocess\nkept = []\n\n"
        "def test_first(failpoints, faulty, proxy):\n    kept.extend([failpoints, faulty, proxy])\n\n"
        "@pytest.mark.parametrize(('use', 'name'), [\n"
        "    (lambda: kept[0].call('json.loads', 'raise(KeyError)'), 'failpoints'),\n"
        "    (lambda: kept[0].in_children({'a': 'kill'}), 'failpoints'),\n"
        "    (lambda: kept[1]([], 'raise(KeyError)'), 'faulty'),\n"
        "    (lambda: kept[2]('127.0.0.1:9'), 'proxy')])\n"
        "def test_later(use, name):\n"
        "    with pytest.raises(Exception) as caught:\n        use()\n"
        "    assert str(caught.value) == (\n"
        "        f'the fixture `{name}` was used after its test: nobody would undo what it does\\n'\n"
        "        '  next:  ask for it in each test that uses it')\n"
        "    assert inprocess.active() == [] and json.loads('1') == 1\n"
    )
    assert "5 passed" in session(tmp_path, test)


def test_a_fixture_outside_a_test_is_refused_by_pytest(tmp_path: Path) -> None:
    test = (
        "import pytest\nfrom blackstart.pytest_plugin.fixtures.failpoints import failpoints as itself\n\n"
        "@pytest.fixture(scope='module')\ndef wide(failpoints):\n    return failpoints\n\n"
        "def test_wide(wide):\n    pass\n\n"
        "def test_called():\n    itself()\n"
    )
    shown = session(tmp_path, test)
    assert "ScopeMismatch: You tried to access the function scoped fixture failpoints with a module scoped" in shown
    assert 'Fixture "failpoints" called directly' in shown
    assert "1 failed, 1 error" in shown
