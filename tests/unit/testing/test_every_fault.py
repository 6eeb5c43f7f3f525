"""Every fault of ours keeps the promises that `check_fault` asks of others'; a fault without a row here is an error."""

from __future__ import annotations

import inspect
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from blackstart import inprocess
from blackstart.faults import AnyFault
from blackstart.faults.clients import Clients
from blackstart.faults.dns import Dns
from blackstart.faults.errno import Errno
from blackstart.faults.failing_sync import FailingSync
from blackstart.faults.kill import Kill
from blackstart.faults.kill_one import KillOne
from blackstart.faults.limit import Limit
from blackstart.faults.link import Link
from blackstart.faults.peer import Peer
from blackstart.faults.point import Point
from blackstart.faults.power import Missing, PowerCut
from blackstart.faults.scarce import Scarce
from blackstart.faults.scene import Scene
from blackstart.faults.second_cut import SecondCut
from blackstart.faults.signals import Signal
from blackstart.faults.time import Jump, Uptime
from blackstart.inprocess import armed, armed_call, calls, children, files, importing, limits, modules, sqlite
from blackstart.lab import Joined
from blackstart.proxy import SyncProxies, SyncProxy
from blackstart.proxy.toxic import Toxic
from blackstart.proxy.toxics import TOXICS
from blackstart.pytest_plugin.fixtures.link import Link as Connection
from blackstart.testing import check_fault, check_value
from tests.unit.faults.scenes import scene

POINT = Point(call="write", path="$CWD/notes.json", nth=2)
SHOP = Path(__file__).parents[1] / "inprocess"

# Broken in the gate, at the next start: seen in what a scene orders.
ORDERED: list[AnyFault] = [
    Kill(point=POINT),
    KillOne(point=POINT, role="worker"),
    Errno(point=POINT, error="EIO"),
    Errno(point=POINT, error="ENOSPC", persistent=True),
    Errno(point=POINT, error="short"),
    Limit(what="descriptors", most=16),
    Limit(what="processes", most=1),
    Signal(name="TERM", moment="start", point=POINT),
    Signal(name="INT", moment="stop"),
    Jump(point=POINT, seconds=-3600.0),
    Uptime(),
    Link(what="loss", ports=(5020,), point=POINT),
    Clients(how="half", path="socket:inet:0.0.0.0:80"),
    FailingSync(point=POINT, model="ext4"),
]
# The disk that they leave is the trial's from then on: nothing to heal, so only the value can be checked.
REPLACING: list[AnyFault] = [
    PowerCut(model="ext4", last=Missing(call="write", path="$CWD/x", nth=1), done=1, missing=()),
    SecondCut(place=3),
]
# What they break are the proxies or the control group of a trial, which are not at hand here; or they break nothing.
PROXIED: list[AnyFault] = [
    Peer(point=POINT, how="silent"),
    Dns(how="mute"),
    Link(what="plain", ports=(5020,)),
    Scarce(what="resident", most=1 << 20),
]
# Broken on the trial's own disk: tests/live/trials/test_every_fault.py.
ON_DISK = {"file", "db", "disk"}


def orders(one: Scene) -> object:
    tampers = [(order.match, str(order.rule), order.act is None) for order in one.tampers]
    settings = one.wall is None, list(one.drop_capabilities), len(one.when_ready)
    return tampers, dict(one.signals), list(one.signals_at_stop), settings


@pytest.mark.parametrize("fault", ORDERED, ids=str)
def test_faults_of_the_gate(fault: AnyFault) -> None:
    one = scene()
    one.new_socket = socket.socket
    joint = object.__new__(Joined)  # nothing is asked of it
    one.joint = lambda: joint
    check_fault(lambda: fault, lambda: orders(one), target=one, within=[inspect.getsourcefile(Scene) or ""])


@pytest.mark.parametrize("fault", [*REPLACING, *PROXIED], ids=str)
def test_the_value_of_faults_that_need_a_whole_trial(fault: AnyFault) -> None:
    check_value(lambda: fault)


def test_no_fault_of_a_campaign_is_forgotten() -> None:
    kinds = {kind.__struct_config__.tag for kind in get_args(AnyFault)}
    assert kinds == {one.__struct_config__.tag for one in [*ORDERED, *REPLACING, *PROXIED]} | ON_DISK


FILES: dict[str, tuple[Any, ...]] = {
    "truncated": (3,),
    "empty": (),
    "garbage": (),
    "overwritten": (b"other",),
    "missing": (),
    "unreadable": (),
    "read_only": (),
}
SQLITE: dict[str, tuple[Any, ...]] = {
    "header_lost": (),
    "truncated": (),
    "garbage": (),
    "empty": (),
    "missing": (),
    "read_only": (),
    "locked": (),
}


def faults_of(module: ModuleType) -> set[str]:
    """The context managers that a module offers."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and hasattr(value, "__wrapped__") and value.__module__ == module.__name__
    }


def tried(path: Path) -> tuple[object, ...]:
    """What a program that reads and writes this file meets."""
    found: list[object] = [path.read_bytes() if os.access(path, os.R_OK, effective_ids=True) else "forbidden"]
    found += [os.access(path, os.W_OK, effective_ids=True), path.stat().st_mode if path.exists() else None]
    return tuple(found)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    path.write_bytes(b'{"a": 1}')
    return path


@pytest.mark.parametrize("name", sorted(faults_of(files)))
def test_faults_of_files(name: str, file: Path) -> None:
    check_fault(lambda: getattr(files, name)(file, *FILES[name]), lambda: tried(file))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE jobs (id)")
        connection.executemany("INSERT INTO jobs VALUES (?)", [(n,) for n in range(500)])
    return path


def used(path: Path) -> object:
    """What a program that opens this database meets."""
    if not path.exists():
        return "missing"
    try:
        with closing(sqlite3.connect(path, timeout=0)) as connection:
            rows = connection.execute("SELECT count(*) FROM jobs").fetchone()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM jobs")
            connection.rollback()
            return rows
    except sqlite3.Error as error:
        return str(error)


@pytest.mark.parametrize("name", sorted(faults_of(sqlite)))
def test_faults_of_databases(name: str, database: Path) -> None:
    check_fault(lambda: getattr(sqlite, name)(database, *SQLITE[name]), lambda: used(database))


def test_limits() -> None:
    import resource

    check_fault(
        lambda: limits.lowered(descriptors=200, core_bytes=0), lambda: resource.getrlimit(resource.RLIMIT_NOFILE)
    )


@pytest.fixture
def shop() -> Iterator[ModuleType]:
    sys.path.insert(0, str(SHOP))
    sys.modules.pop("shop", None)
    import shop

    yield shop
    sys.path.remove(str(SHOP))
    sys.modules.pop("shop", None)
    assert inprocess.disarm_everything() == []


def said(call: Callable[[], object]) -> str:
    try:
        return repr(call())
    except OSError as error:
        return repr(error)


def test_failpoints(shop: ModuleType) -> None:
    check_fault(
        lambda: armed(["cas-put-before-write", "in-method"], "raise(OSError: EIO)", may_miss=True),
        lambda: (said(lambda: shop.put({}, "k", 1)), said(shop.Child().method)),
        within=[str(modules.__file__)],
    )


def test_failpoints_of_one_context(shop: ModuleType) -> None:
    check_fault(
        lambda: armed("cas-put-before-write", "raise(OSError: EIO)", may_miss=True, scope="context"),
        lambda: said(lambda: shop.put({}, "k", 1)),
    )


def test_failpoints_armed_at_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "young.py").write_text("age = 1\n# failpoint: young-body\nage = 2\n")
    monkeypatch.syspath_prepend(tmp_path)

    def imported() -> str:
        sys.modules.pop("young", None)
        try:
            return said(lambda: __import__("young").age)
        finally:
            sys.modules.pop("young", None)

    check_fault(
        lambda: armed("young-body", "raise(OSError: EIO)", may_miss=True, module="young"),
        lambda: (imported(), importing.Finder in sys.meta_path),
        within=[importing.__file__],
    )


@pytest.mark.parametrize("path", ["shop.put", "shop.Child.method", "os.fsync"])
def test_calls(path: str, shop: ModuleType, file: Path) -> None:
    def synced() -> str:
        with file.open("rb") as opened:
            return said(lambda: os.fsync(opened.fileno()))

    check_fault(
        lambda: armed_call(path, "raise(OSError: EIO)", may_miss=True),
        lambda: (said(lambda: shop.put({}, "k", 1)), said(shop.Child().method), synced()),
        within=[str(calls.__file__)],
    )


def test_storms(shop: ModuleType) -> None:
    names = ["cas-put-before-write", "in-method"]
    check_fault(
        lambda: inprocess.storm(names, "raise(OSError: EIO)", seed=1, activate=1, fire=1),
        lambda: (said(lambda: shop.put({}, "k", 1)), said(shop.Child().method)),
    )


def test_no_fault_in_process_is_forgotten() -> None:
    assert faults_of(files) == set(FILES)
    assert faults_of(sqlite) == set(SQLITE)
    assert faults_of(limits) == {"lowered"}
    # A child is broken by what stands in its environment: nothing here changes.
    assert faults_of(children) == {"in_children"}
    assert faults_of(importing) == {"expected"}


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that says each byte again."""

    def say(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(64):
                connection.sendall(data)

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=say, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxies() -> Iterator[SyncProxies]:
    with SyncProxies(seed=1) as found:
        yield found


@pytest.fixture
def proxy(proxies: SyncProxies, echo: str) -> SyncProxy:
    return proxies.create("echo", echo)


def answered(proxy: SyncProxy) -> str:
    """What a client of this proxy meets: the answer, or how it does not come."""
    try:
        with socket.create_connection((proxy.host, proxy.port), timeout=5) as client:
            client.settimeout(1)  # long enough for an answer beside a busy machine; only silence costs it
            client.sendall(b"question")
            answer = b""
            while len(answer) < len(b"question") and (data := client.recv(64)):
                answer += data
            return repr(answer)
    except OSError as error:
        return type(error).__name__


# An interrupt may fall before what was asked for reaches the loop.
NEVER_ASKED = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")


@NEVER_ASKED
@pytest.mark.parametrize("kind", TOXICS, ids=lambda kind: str(kind.type))
def test_toxics(kind: type[Any], proxies: SyncProxies, proxy: SyncProxy) -> None:
    check_value(kind)
    if not Toxic("one", "downstream", kind()).can("tcp"):
        proxy = proxies.create("datagrams", "udp:127.0.0.1:9", listen="udp:127.0.0.1:0")
    # What each does to the bytes its own test shows; here: that it is at work, and then is not.
    check_fault(lambda: proxy.toxic(kind.type), lambda: proxy.toxics(), within=[inspect.getsourcefile(SyncProxy) or ""])


BROKEN: dict[str, Callable[[Connection], AbstractContextManager[None]]] = {
    "refused": lambda link: link.refused(),
    "silent": lambda link: link.silent(),
    "reset": lambda link: link.reset(),
    "partial": lambda link: link.partial(3),
    "failing": lambda link: link.failing(1.0),
}


@NEVER_ASKED
@pytest.mark.parametrize("how", BROKEN)
def test_links(how: str, proxy: SyncProxy) -> None:
    link = Connection(proxy)
    check_fault(lambda: BROKEN[how](link), lambda: answered(proxy), within=[inspect.getsourcefile(SyncProxy) or ""])
