"""Power cuts of services: what was acknowledged to whoever uses it is there after the cut, and it comes up again.

covers: M-9, M-18
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.live.programs.running import PYTHON, Ran, run

PROGRAMS = Path(__file__).parent / "programs"

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


def cut(place: Path, mode: str, *options: str, trials: int) -> Ran:
    shutil.copytree(PROGRAMS, place)
    (place / "state.json").write_text("[]")  # with a file to replace nothing is stuck, which would be watched for long
    return run(
        [PYTHON, "server.py"], place, "--ready", "tcp:8123", "--workload", f"{PYTHON} work.py", "--check",
        f"{PYTHON} check.py", "--only", "power", "--trials", str(trials), *options, env={"MODE": mode},
    )  # fmt: skip


def tried(ran: Ran) -> int:
    kind: dict[str, Any] = next(kind for kind in ran.report["trials"]["kinds"] if kind["kind"] == "power")
    return int(kind["passed"]) + int(kind["failed"])


def test_a_rename_without_fsync_loses_what_was_acknowledged(tmp_path: Path) -> None:
    ran = cut(tmp_path / "service", "unsynced", "--model", "ext4", trials=8)
    assert ran.status == 1 and {f["consequence"] for f in ran.defects} == {"lost"}, ran.said()
    assert not ran.report["uncovered"], ran.said()
    lost = ran.defects[0]
    assert "acknowledged" in lost["evidence"][0] and "fsync" in lost["advice"], ran.said()


def test_fsync_before_and_of_the_directory_after_the_rename_keeps_it(tmp_path: Path) -> None:
    ran = cut(tmp_path / "service", "durable", "--model", "ext4,btrfs,fsync-fails", trials=10)
    assert ran.status == 0 and not ran.findings and tried(ran) >= 5, ran.said()


@pytest.mark.slow
def test_a_disk_that_lies_is_no_fault_of_the_program(tmp_path: Path) -> None:
    ran = cut(tmp_path / "service", "durable", "--model", "fsync-lies", trials=6)
    assert ran.status == 0 and ran.findings and {f["label"] for f in ran.findings} == {"note"}, ran.said()


POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), Path("postgres"))
PORT = "5433"
INSERTS = f"""
for n in 1 2 3 4; do
  if psql -h 127.0.0.1 -p {PORT} -U postgres -qc "create table if not exists notes (id int primary key, body text);
    insert into notes values ($n, repeat('x', 2000))" >/dev/null 2>&1; then echo ok $n; else echo info $n; fi
done
"""
SELECT = f"psql -h 127.0.0.1 -p {PORT} -U postgres -Atc 'select id from notes' | sed 's/^/have /'"


@pytest.mark.timeout(600)
@pytest.mark.skipif(not POSTGRES.exists(), reason="needs postgresql (not installed)")
def test_a_database_that_syncs_keeps_its_word_also_where_root_starts_it_and_it_gives_up_root() -> None:
    """PostgreSQL refuses to run as root: then its files are another user's, on each disk that is built as well."""
    gives_up = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.geteuid() == 0 else []
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "20"}
    settings |= {"shared_buffers": "1MB", "autovacuum": "off"}
    with TemporaryDirectory(prefix="blackstart-test-") as base:
        place = Path(base) / "app"
        place.mkdir()
        if gives_up:
            os.chmod(base, 0o755)  # what pytest gives is root's alone
            shutil.chown(place, "postgres", "postgres")
        make = [str(POSTGRES.with_name("initdb")), "-D", "data", "-A", "trust", "-N", "-U", "postgres", "--locale=C"]
        subprocess.run([*gives_up, *make, "-E", "UTF8", "--wal-segsize=1"], cwd=place, check=True, capture_output=True)
        serve = [str(POSTGRES), "-D", "data", "-p", PORT, *(f"--{name}={value}" for name, value in settings.items())]
        ran = run(
            [*gives_up, *serve], place, "--state", "data", "--ready", "log:ready to accept connections",
            "--workload", INSERTS, "--check", SELECT, "--only", "power", "--model", "ext4,xfs,btrfs", "--trials", "6",
            timeout_s=550,
        )  # fmt: skip
    assert ran.status == 0 and not ran.findings and tried(ran) >= 5, ran.said()


STORE = "6391"
SETS = f"""
for n in 1 2 3 4; do
  answer=$(redis-cli -p {STORE} set key$n value$n 2>&1)
  case $answer in OK) echo ok key$n;; *) echo info key$n;; esac
done
"""
KEYS = f"redis-cli -p {STORE} --raw keys 'key*' | sed 's/^/have /'"


def store(place: Path, models: str, *, trials: int) -> Ran:
    place.mkdir()
    return run(
        ["redis-server", "--port", STORE, "--dir", ".", "--save", "", "--appendonly", "yes", "--appendfsync", "always"],
        place, "--ready", f"tcp:{STORE}", "--workload", SETS, "--check", KEYS, "--only", "power", "--model", models,
        "--trials", str(trials),
    )  # fmt: skip


@pytest.mark.needs("redis-server", "redis-cli")
def test_a_store_that_syncs_each_write_keeps_its_word(tmp_path: Path) -> None:
    ran = store(tmp_path / "store", "xfs,btrfs", trials=8)
    assert ran.status == 0 and not ran.findings and tried(ran) >= 6, ran.said()


@pytest.mark.needs("redis-server", "redis-cli")
def test_zeros_that_ext4_leaves_at_the_end_of_its_log_keep_a_store_down(tmp_path: Path) -> None:
    """redis/redis issue 5177: a file may become longer within its last block before the bytes are there, and no start
    gets past the zeros (`aof-load-truncated` allows a short end only; `aof-load-corrupt-tail-max-size` came later)."""
    ran = store(tmp_path / "store", "ext4", trials=14)
    assert ran.status == 1 and ran.defects, ran.said()
    for found in ran.defects:
        assert found["consequence"] in ("stuck", "corrupt"), "nothing that was acknowledged is lost: " + ran.said()
        assert all("/appendonlydir/" in path for path in found["paths"]), ran.said()
        assert found["advice"].startswith("On start, cut a file that is only appended to off"), ran.said()
        said = "\n".join(found["evidence"])
        assert "can happen under ext4" in said and "not under xfs, btrfs" in said, ran.said()
        assert "a mere kill does not do this, a power cut does" in said, ran.said()


CLIENT, PEER = "2392", "2393"
PUTS = f"""
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=127.0.0.1:{CLIENT}
for n in 1 2 3 4; do
  if etcdctl put key$n value$n >/dev/null 2>&1; then echo ok key$n; else echo info key$n; fi
done
"""
GETS = f"ETCDCTL_API=3 etcdctl --endpoints 127.0.0.1:{CLIENT} get key --prefix --keys-only | sed -n 's/^key/have key/p'"


@pytest.mark.slow
@pytest.mark.needs("etcd", "etcdctl")
def test_a_consensus_store_on_a_directory_that_it_knows_keeps_its_word(tmp_path: Path) -> None:
    """Begun by itself once: its very first start does not always recover, which is known and true."""
    place = tmp_path / "store"
    place.mkdir()
    url, peer = f"http://127.0.0.1:{CLIENT}", f"http://127.0.0.1:{PEER}"
    serve = [
        "etcd", "--data-dir", "data", "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
    ]  # fmt: skip
    with subprocess.Popen(serve, cwd=place, stderr=subprocess.PIPE, text=True) as begun:
        assert begun.stderr is not None
        assert any("ready to serve client requests" in line for line in begun.stderr)
        begun.terminate()
        begun.communicate()
    ran = run(
        serve, place, "--state", "data", "--ready", f"tcp:{CLIENT}", "--workload", PUTS, "--check", GETS,
        "--only", "power", "--model", "ext4,xfs,btrfs", "--trials", "6",
    )  # fmt: skip
    assert ran.status == 0 and not ran.findings and tried(ran) >= 5, ran.said()
