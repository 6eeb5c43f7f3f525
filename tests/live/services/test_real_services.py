"""Real services as they are: a store that writes behind, which is a policy, and, made to sync, keeps its word; a
database and a web server that give nothing.

covers: L-2, M-6, R-17
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.live.peers.test_databases import AS_USER, BIN, NOBODY
from tests.live.programs.running import PYTHON, Ran, run

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
PROGRAMS = Path(__file__).parent / "programs"
PORT = "6390"
WORK = f"""
for n in 1 2 3 4 5; do
  answer=$(redis-cli -p {PORT} set key$n value$n 2>&1)
  case $answer in OK) echo ok key$n;; *) echo info key$n;; esac
done
"""
CHECK = f"redis-cli -p {PORT} --raw keys 'key*' | sed 's/^/have /'"


def stored(place: Path, *more: str, trials: str) -> Ran:
    return run(
        ["redis-server", "--port", PORT, "--dir", ".", *more], place, "--ready", f"tcp:{PORT}", "--workload", WORK,
        "--check", CHECK, "--only", "kill,signal", "--trials", trials,
    )  # fmt: skip


@pytest.mark.needs("redis-server", "redis-cli")
def test_as_it_comes_it_writes_behind(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    ran = stored(tmp_path / "store", trials="8")
    assert {(found["consequence"], found["label"]) for found in ran.defects} == {("lost", "policy")}, ran.said()
    assert ran.status == 0, ran.said()
    assert "s later" in ran.report["calibration"]["write_behind"], ran.said()


@pytest.mark.needs("redis-server", "redis-cli")
def test_made_to_sync_it_keeps_its_word(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    ran = stored(tmp_path / "store", "--appendonly", "yes", "--appendfsync", "always", trials="16")
    assert ran.status == 0 and not ran.defects and not ran.report["muted"], ran.said()


SITE = """
daemon off;
user root;
pid nginx.pid;
error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  server {
    listen 127.0.0.1:8126;
    root files;
    location / { dav_methods PUT; autoindex on; autoindex_format json; }
  }
}
"""
PUT = """
for n in 1 2 3 4 5; do
  status=$(curl -s -m 5 -o /dev/null -w '%{http_code}' -X PUT --data-binary "item $n" http://127.0.0.1:8126/item$n)
  case $status in 20*) echo ok item$n;; 000) echo info item$n;; *) echo fail item$n;; esac
done
"""
LISTED = "curl -s -m 5 -f http://127.0.0.1:8126/ | grep -o 'item[0-9]*' | sed 's/^/have /'"


@pytest.mark.needs("nginx", "curl")
def test_a_web_server_that_files_are_put_to_gives_nothing(tmp_path: Path) -> None:
    place = tmp_path / "site"
    (place / "files").mkdir(parents=True)
    (place / "tmp").mkdir()
    (place / "nginx.conf").write_text(SITE if os.geteuid() == 0 else SITE.replace("user root;", ""))
    ran = run(
        ["nginx", "-p", ".", "-c", "nginx.conf"], place, "--ready", "tcp:8126", "--workload", PUT, "--check", LISTED,
        "--only", "kill,errno", "--trials", "10",
    )  # fmt: skip
    assert ran.status == 0 and not ran.defects and not ran.report["muted"], ran.said()


@pytest.mark.parametrize(("mode", "found"), [("good", set()), ("swallows", {"lost"})])
def test_a_wsgi_application_that_tells_its_clients_of_an_error_gives_nothing(
    tmp_path: Path, mode: str, found: set[str]
) -> None:
    """Its twin writes the error to its log, and answers that all is well."""
    place = tmp_path / "site"
    place.mkdir()
    for name in ("wsgi.py", "work.py", "check.py"):
        shutil.copy(PROGRAMS / name, place)
    ran = run(
        [PYTHON, "wsgi.py"], place, "--ready", "tcp:8127", "--workload", f"{PYTHON} work.py 8127", "--check",
        f"{PYTHON} check.py 8127", "--only", "kill,errno", "--trials", "5", env={"MODE": mode},
    )  # fmt: skip
    assert {f["consequence"] for f in ran.defects} == found and not ran.report["muted"], ran.said()
    assert ran.status == bool(found), ran.said()


ETCD = (
    "etcd", "--data-dir", "data", "--listen-client-urls", "http://127.0.0.1:2389", "--advertise-client-urls",
    "http://127.0.0.1:2389", "--listen-peer-urls", "http://127.0.0.1:2390", "--initial-advertise-peer-urls",
    "http://127.0.0.1:2390", "--initial-cluster", "default=http://127.0.0.1:2390",
)  # fmt: skip
ASK = "etcdctl --endpoints 127.0.0.1:2389 --command-timeout=4s"
KEYS = f"for n in 1 2 3; do {ASK} put key$n value$n >/dev/null 2>&1 && echo ok key$n || echo info key$n; done"
KEPT = f"{ASK} get --prefix key --keys-only | sed -n 's/^key/have key/p'; {ASK} endpoint health >/dev/null 2>&1"


@pytest.mark.slow
@pytest.mark.needs("etcd", "etcdctl")
def test_a_store_that_syncs_its_log_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """Not from its first start: killed in that before its log has a first entry, it does not start again."""
    place = tmp_path / "store"
    place.mkdir()
    first = subprocess.Popen(ETCD, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        put = ["/bin/sh", "-c", f"until {ASK} put first value; do kill -0 {first.pid} || exit; done"]
        env = {**os.environ, "ETCDCTL_API": "3"}
        subprocess.run(put, check=True, cwd=place, env=env, capture_output=True, timeout=500)
    finally:
        first.terminate()
        first.wait()
    ran = run(
        ETCD, place, "--state", "data", "--ready", "http://127.0.0.1:2389/health", "--workload", KEYS, "--check",
        KEPT, "--only", "kill", "--trials", "3", "--env", "ETCDCTL_API=3",
    )  # fmt: skip
    assert ran.status == 0 and not ran.defects and not ran.report["muted"], ran.said()
    assert ran.report["trials"]["kinds"][0]["passed"] == 3, ran.said()


SQL = "psql -X -q -A -t -h 127.0.0.1 -p 5439 -U app -d postgres"
INSERT = f"""
for n in 1 2 3 4 5; do
  {SQL} -c 'create table if not exists work (id int primary key)' \
    -c "insert into work values ($n) on conflict do nothing" && echo ok row$n || echo info row$n
done 2>/dev/null
"""
SELECT = f"""{SQL} -c "select 'have row' || id from work" || {SQL} -c 'select' """


@pytest.mark.skipif(not (BIN / "initdb").exists(), reason="needs postgresql (not installed)")
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("kill", ()),
        # What it keeps in /dev/shm elsewhere lies in its own directory then, and is no reason to leave the kind out.
        pytest.param("disk", ("-c", "dynamic_shared_memory_type=mmap"), marks=pytest.mark.slow),
    ],
)
def test_a_database_keeps_what_it_acknowledged(kind: str, settings: tuple[str, ...]) -> None:
    """It refuses to be root's."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:  # of which every directory lets another user through
        os.chmod(made, 0o755)
        place = Path(made) / "place"
        data = place / "data"
        data.mkdir(parents=True)
        if AS_USER:
            os.chown(data, NOBODY, NOBODY)
        words = ("-D", data, "-A", "trust", "-U", "app", "--no-sync", "--wal-segsize=1")
        subprocess.run([*AS_USER, BIN / "initdb", *words], check=True, capture_output=True, cwd="/")
        server = [
            *AS_USER, str(BIN / "postgres"), "-D", "data", "-p", "5439", "-c", "listen_addresses=127.0.0.1",
            "-c", "unix_socket_directories=", "-c", "max_wal_size=16MB", "-c", "min_wal_size=2MB", *settings,
        ]  # fmt: skip
        ran = run(
            server, place, "--state", "data", "--ready", "log:ready to accept connections", "--workload", INSERT,
            "--check", SELECT, "--only", kind, "--trials", "4",
        )  # fmt: skip
        assert ran.status == 0 and not ran.defects and not ran.report["muted"], ran.said()
        assert ran.report["trials"]["kinds"][0]["passed"] == 4, ran.said()
