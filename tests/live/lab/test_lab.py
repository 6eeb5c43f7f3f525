"""Hosts, programs on them, chaos on their links; nothing of the machine changes or is left (covers: T-1, L-3)."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blackstart.lab import Lab, LabError, NetworkChaos
from blackstart.sandbox import wire
from tests.live.lab.conftest import opened, until
from tests.live.sandbox.people import person

pytestmark = pytest.mark.live
LINK = ("client", "server")
# One datagram to the server's echo, one answer back, or nothing.
ASK = (
    "import socket; s = socket.socket(2, 2); s.settimeout({t}); "
    "s.sendto(b'hi', ('{to}', 9)); print(s.recv(9).decode())"
)
ECHO = "import socket\ns = socket.socket(2, 2); s.bind(('', 9))\nwhile True: d, a = s.recvfrom(99); s.sendto(d, a)"


@pytest.fixture(scope="module", autouse=True)
def echo(pair: Lab) -> None:
    server = pair["server"].popen([sys.executable, "-c", ECHO])
    pair["server"].wait_listening(9, "udp", process=server)


def answers(lab: Lab, to: str = "server", timeout_s: float = 0.3) -> bool:
    asked = lab["client"].run([sys.executable, "-c", ASK.format(t=timeout_s, to=to)])
    return asked.stdout == "hi\n"


def test_hosts_find_each_other_by_name_and_see_nothing_else(pair: Lab) -> None:
    assert answers(pair, timeout_s=5)
    look = "import os; print(sorted(os.listdir('/proc/sys/net/ipv4/conf')))"
    names = pair["client"].run([sys.executable, "-c", look])
    assert "'eth0'" in names.stdout and "port" not in names.stdout


def test_programs_get_their_streams_their_directory_and_tell_their_end(pair: Lab, tmp_path: Path) -> None:
    script = "import os, sys; print(sys.stdin.read().upper(), os.getcwd(), os.environ['X']); sys.exit(7)"
    ended = pair["client"].run([sys.executable, "-c", script], input="in\n", env={"X": "y"}, cwd=str(tmp_path))
    assert ended.stdout == f"IN\n {tmp_path} y\n" and ended.returncode == 7
    sleeping = pair["client"].popen(["sleep", "100"])
    assert sleeping.poll() is None and os.path.exists(f"/proc/{sleeping.pid}")
    sleeping.terminate()
    assert sleeping.wait(10) == -signal.SIGTERM and sleeping.pid == -1
    sleeping.kill()  # it has ended: nothing happens
    with pytest.raises(subprocess.TimeoutExpired):
        pair["client"].run(["sleep", "100"], timeout=0.2)


def test_large_streams_both_ways(pair: Lab) -> None:
    text = "x" * 3_000_000
    assert pair["client"].run(["cat"], input=text).stdout == text


# The kernel holds back only so many packets until it knows the other one's address: once it is refused, it does.
REFUSED = """
import socket
s = socket.socket(2, 2); s.connect(('server', 9)); s.settimeout(60); s.send(b'x')
try: s.recv(1)
except ConnectionRefusedError: pass
"""
SENDS = """
import socket, sys
s = socket.socket(2, 2); s.connect(('server', 9)); sys.stdin.readline()
for _ in range(1000): s.send(b'x')
print('sent', flush=True)
"""


def test_what_was_sent_before_is_counted_and_meets_what_was_there_then(pair: Lab, chaos: NetworkChaos) -> None:
    """However far the lab's own process is behind: here it stands still while all is sent and more is asked of it."""
    assert pair._keeper is not None and pair._control is not None
    pair["client"].run([sys.executable, "-c", REFUSED], check=True)
    (inner,) = Path(f"/proc/{pair._keeper.pid}/task/{pair._keeper.pid}/children").read_text().split()
    for ask in ({"do": "counts"}, {"do": "heal", "number": 0}):
        with chaos.apply_loss(LINK, 100, one_way=True, protocol="udp") as loss:
            sending = pair["client"].popen([sys.executable, "-c", SENDS], stdin=-1, stdout=-1)
            assert sending.stdin is not None and sending.stdout is not None
            os.kill(int(inner), signal.SIGSTOP)
            try:
                sending.stdin.write(b"\n")
                sending.stdin.flush()
                assert sending.stdout.readline() == b"sent\n"
                wire.send(pair._control, ask | ({"number": loss._number} if "number" in ask else {}))
            finally:
                os.kill(int(inner), signal.SIGCONT)
            wire.receive(pair._control, 30)
            assert loss.counts()["dropped"] == 1000, ask
            sending.wait(30)


def test_what_cannot_be_started_is_said(pair: Lab) -> None:
    with pytest.raises(LabError, match="no-such-program cannot be started: No such file"):
        pair["client"].run(["no-such-program"])
    for words, more, said in (
        ([], {}, "no program to start"), ([""], {}, "argv first element cannot be empty"),
        (["a\0b"], {}, "null"), (["true"], {"env": {"A=B": ""}}, "environment variable"),
        (["true"], {"cwd": "/no-such-place"}, "^/no-such-place cannot be entered: No such file"),
    ):  # fmt: skip
        with pytest.raises(LabError, match=said):
            pair["client"].run(words, **more)  # type: ignore[arg-type]
    with pytest.raises(LabError, match="no host 'nobody'"):
        pair["nobody"]
    with pytest.raises(LabError, match="nothing listens on tcp port 1 "):
        pair["client"].wait_listening(1, timeout=0.05)


def test_a_partition_cuts_both_ways_and_heals(pair: Lab, chaos: NetworkChaos) -> None:
    with chaos.partition("client", "server") as cut:
        assert not answers(pair)
        assert cut.counts()["dropped"] >= 1
    assert answers(pair, timeout_s=5)
    assert cut.counts()["dropped"] >= 1  # still known after the heal
    cut.heal()


def test_a_partition_heals_by_itself(pair: Lab, chaos: NetworkChaos) -> None:
    chaos.partition("client", "server", duration_s=0.2)
    until(lambda: answers(pair))


def test_one_way_lets_the_other_way_through(pair: Lab, chaos: NetworkChaos) -> None:
    with chaos.partition("client", "server", one_way=True) as cut:
        assert not answers(pair)
        assert cut.counts()["dropped"] >= 1  # the question: without it there is no answer
    with chaos.partition("server", "client", one_way=True) as cut:
        assert not answers(pair)
        until(lambda: cut.counts()["dropped"] >= 1)  # the answer: without the question there is none


def test_overlapping_partitions_heal_apart(pair: Lab, chaos: NetworkChaos) -> None:
    first, second = chaos.partition("client", "server"), chaos.partition_by("isolated", "server")
    first.heal()
    assert not answers(pair)
    second.heal()
    assert answers(pair, timeout_s=5)


def test_a_fault_may_mean_one_port_only(pair: Lab, chaos: NetworkChaos) -> None:
    with chaos.apply_loss(LINK, 100, protocol="udp", port=10):
        assert answers(pair, timeout_s=5)
    with chaos.apply_loss(LINK, 100, protocol="udp", port=9):
        assert not answers(pair)


def test_a_rule_fails_so_many_and_then_lets_through(pair: Lab, chaos: NetworkChaos) -> None:
    chaos.apply_loss(LINK, 100, one_way=True, when="2*", protocol="udp")
    assert [answers(pair), answers(pair), answers(pair, timeout_s=5)] == [False, False, True]


def test_a_host_may_move_to_another_address(pair: Lab, chaos: NetworkChaos) -> None:
    old = pair["server"].address
    new = chaos.roam("server")
    assert new != old and pair["server"].address == new
    assert answers(pair, new, timeout_s=5) and not answers(pair, old)
    assert chaos.roam("server", old) == old
    assert answers(pair, old, timeout_s=5)


def test_an_interface_may_go_down_and_come_back(pair: Lab, chaos: NetworkChaos) -> None:
    chaos.switch_off("server")
    assert not answers(pair)
    chaos.switch_on("server")
    until(lambda: answers(pair))


def test_leaving_heals_though_the_body_fails(pair: Lab) -> None:
    with pytest.raises(ZeroDivisionError), NetworkChaos(pair) as inner:
        inner.partition("client", "server")
        _ = 1 // 0
    assert answers(pair, timeout_s=5)


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (lambda c: c.apply_loss(LINK, 130), "loss_percent"), (lambda c: c.apply_delay("nobody", 10), "nobody"),
        (lambda c: c.apply_delay(("client", "client"), 10), "itself"), (lambda c: c.apply_rate(LINK, 0), "rate of 0"),
        (lambda c: c.apply_loss(LINK, 1, colour="red"), "colour"), (lambda c: c.apply_profile("all", "4h"), "4h"),
        (lambda c: c.apply_loss(LINK, 1, duration_s=-1), "duration_s"), (lambda c: c.partition_by("star"), "star"),
        (lambda c: c.partition("client", "client"), "both sides"), (lambda c: c.roam("client", "10.97.0.3"), "taken"),
        (lambda c: c.roam("client", "192.0.2.1"), "no address in lan"), (lambda c: c.roam("client", "x"), "IPv4"),
        (lambda c: c.roam("client", interface=4), "interface 4"), (lambda c: c.partition_by("bridge"), "3 hosts"),
        (lambda c: c.apply_loss(("client", "server", "x"), 1), "pair"), (lambda c: c.apply_loss(7, 1), "pair"),
        (lambda c: c.apply_loss(LINK, 1, duration_s="x"), "'x'"),
        (lambda c: c.apply_delay("all", 5, 5, "gauss"), "gauss"), (lambda c: c.apply_loss(LINK), "a loss of nothing"),
        (lambda c: c.partition([], "client"), "nobody on one side"), (lambda c: c.lab.__enter__(), "open already"),
        (lambda c: Lab(3), "3 is no name for a host"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_and_changes_nothing(
    pair: Lab, chaos: NetworkChaos, act: Callable[[NetworkChaos], object], word: str
) -> None:
    with pytest.raises(LabError, match=word):
        act(chaos)
    assert answers(pair, timeout_s=5)


def host_network() -> dict[str, str]:
    """What a lab must not change: interfaces, addresses, routes, rules of the firewall, kernel settings."""
    asked = {name: Path(f"/proc/net/{name}") for name in ("dev", "route", "fib_trie", "if_inet6", "packet")}
    found = {name: path.read_text() for name, path in asked.items() if path.exists()}
    found["dev"] = "\n".join(line.partition(":")[0] for line in found["dev"].splitlines())
    found["namespaces"] = str(sorted(os.listdir("/run/netns"))) if os.path.isdir("/run/netns") else ""
    found["ping"] = Path("/proc/sys/net/ipv4/ping_group_range").read_text()
    found["names"] = Path("/etc/hosts").read_text()
    return found


def test_the_machine_itself_is_not_touched(tmp_path: Path) -> None:
    before = host_network()
    with opened("a", "b", "c") as lab, NetworkChaos(lab) as chaos:
        chaos.partition_by("random-halves")
        chaos.apply_loss("all", 50)
        lab["a"].run(["true"])
        assert host_network() == before
    assert host_network() == before


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """As many as most users have without asking for more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    yield 1024
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_two_hundred_hosts(few_descriptors: int) -> None:
    with opened(*(f"h{number}" for number in range(200))) as lab:
        listening = lab["h199"].popen([sys.executable, "-c", ECHO])
        lab["h199"].wait_listening(9, "udp", process=listening)
        asked = lab["h0"].run([sys.executable, "-c", ASK.format(t=10, to="h199")])
        assert asked.stdout == "hi\n"
        assert int(lab["h0"].run(["sh", "-c", "ulimit -n"]).stdout) == few_descriptors


@pytest.mark.needs("ping")
def test_of_what_no_fault_means_the_keeper_sees_the_first_frame_however_many_hosts_there_are() -> None:
    with opened(*(f"h{number}" for number in range(12)), seed=1) as lab, NetworkChaos(lab) as chaos:
        if not lab.ask({"do": "counts"})[0]["shortened"]:
            pytest.skip("needs cls_u32 and act_mirred: this kernel cannot redirect packets")

        def relayed() -> int:
            before = lab.ask({"do": "counts"})[0]["forwarded"]
            lab["h0"].run(["ping", "-q", "-c", "40", "-i", "0.01", "h11"], check=True)
            return int(lab.ask({"do": "counts"})[0]["forwarded"]) - before

        assert relayed() < 70  # address resolution, a question and an answer, and what was there before the rule
        with chaos.apply_delay(("h0", "h11"), 1):
            assert relayed() >= 80
        with chaos.apply_delay(("h1", "h11"), 1):
            assert relayed() < 70


def test_networks_are_apart_and_a_host_may_be_on_two() -> None:
    with opened(networks={"front": ["a", "b"], "back": ["b", "c"]}) as lab:
        for name in "bc":
            started = lab[name].popen([sys.executable, "-c", ECHO])
            lab[name].wait_listening(9, "udp", process=started)
        ask = [sys.executable, "-c"]
        assert lab["a"].run([*ask, ASK.format(t=10, to=lab["b"].address)]).stdout == "hi\n"
        assert lab["c"].run([*ask, ASK.format(t=10, to=lab["b"].interfaces[1].address)]).stdout == "hi\n"
        assert lab["a"].run([*ask, ASK.format(t=0.3, to=lab["c"].address)]).stdout == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another's network namespace is joined")
def test_a_container_can_be_adopted_and_is_left_as_it_was() -> None:
    listing = [sys.executable, "-c", "import socket; print(sorted(n for _, n in socket.if_nameindex()))"]
    with subprocess.Popen(["unshare", "-n", "sleep", "1000"]) as container:
        own = os.stat("/proc/self/ns/net").st_ino
        until(lambda: os.stat(f"/proc/{container.pid}/ns/net").st_ino != own)
        enter = ["nsenter", "-t", str(container.pid), "-n", *listing]
        before = subprocess.run(enter, capture_output=True, text=True, check=True).stdout
        with opened("client", adopted={"web": container.pid}) as lab, NetworkChaos(lab) as chaos:
            assert "lab0" in subprocess.run(enter, capture_output=True, text=True, check=True).stdout
            server = lab["web"].popen([sys.executable, "-c", ECHO])
            lab["web"].wait_listening(9, "udp", process=server)
            ask = [sys.executable, "-c"]
            assert lab["client"].run([*ask, ASK.format(t=10, to="web")]).stdout == "hi\n"
            with chaos.partition("client", "web"):
                assert lab["client"].run([*ask, ASK.format(t=0.3, to="web")]).stdout == ""
        assert container.poll() is None
        until(lambda: subprocess.run(enter, capture_output=True, text=True, check=True).stdout == before)
        container.kill()
    with pytest.raises(LabError, match="cannot be opened"), opened("a", adopted={"b": "/nowhere"}):
        pass


def test_the_network_of_blackstart_itself_is_never_adopted() -> None:
    with pytest.raises(LabError, match="blackstart itself runs in"), opened("a", adopted={"b": os.getpid()}):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another's network namespace is joined")
@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("ip link set lo up; ip addr add 10.97.0.3/32 dev lo", "has the address 10.97.0.3 already"),
        ("ip link add lab0 type veth peer name other", "has an interface lab0 already"),
    ],
)
def test_what_an_adopted_host_has_is_not_taken_from_it(there: str, said: str) -> None:
    with subprocess.Popen(["unshare", "-n", "sh", "-c", f"{there}; echo; exec cat"], stdin=-1, stdout=-1) as container:
        assert container.stdout is not None and container.stdout.read(1)
        with pytest.raises(LabError, match=said), opened("a", adopted={"b": container.pid}):
            pass
        container.kill()


@pytest.mark.needs("ping")
def test_chaos_on_a_link_that_is_deleted_says_so_or_does_nothing() -> None:
    with opened("a", "b", "c") as lab, NetworkChaos(lab) as chaos:
        loss = chaos.apply_loss("b", 50)
        lab["b"].run(["ip", "link", "del", "eth0"], check=True)
        chaos.apply_delay(("a", "b"), 5).heal()
        assert loss.counts()["dropped"] == 0
        for act in (chaos.roam, chaos.switch_off):
            with pytest.raises(LabError, match="host 'b' has no eth0 any more"):
                act("b")
        loss.heal()
        with chaos.apply_loss(("a", "c"), 0):
            assert lab["a"].run(["ping", "-c", "1", "-W", "5", "c"]).returncode == 0


OWNER = """
import sys
from blackstart.lab import Lab, NetworkChaos
lab = Lab("a", "b").__enter__()
sleeper = lab["a"].popen(["sleep", "1000"])
daemon = lab["b"].popen(["sh", "-c", "setsid sleep 1000 & sleep 1000"])
print(sleeper.pid, daemon.pid, lab._keeper.pid, flush=True)
sys.stdin.read()
"""


def test_all_is_gone_when_the_owner_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        if not pids:
            pytest.skip("needs namespaces: this machine gives none")
        assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
        owner.kill()
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


def test_a_lab_whose_process_is_killed_says_so_and_closes() -> None:
    with opened("a", "b") as lab:
        running = lab["a"].popen(["sleep", "1000"])
        pid = running.pid
        assert lab._keeper is not None
        lab._keeper.kill()
        assert running.wait(20) < 0
        until(lambda: not os.path.exists(f"/proc/{pid}"))
        with pytest.raises(LabError, match="the lab is gone"):
            lab["a"].run(["true"])
    with pytest.raises(LabError, match="not open"):
        lab["a"].run(["true"])


def test_a_lab_whose_process_hangs_says_so_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("a", "b") as lab:
        pid = lab["a"].popen(["sleep", "1000"]).pid
        for limit in ("_ANSWER_S", "_END_S"):
            monkeypatch.setattr(f"blackstart.lab.lab.{limit}", 0.3)
        assert lab._keeper is not None
        (inner,) = Path(f"/proc/{lab._keeper.pid}/task/{lab._keeper.pid}/children").read_text().split()
        os.kill(int(inner), signal.SIGSTOP)
        with pytest.raises(LabError, match="did not answer for 0"):
            lab["a"].run(["true"])
        with pytest.raises(LabError, match="not open"):
            lab["a"].run(["true"])
    until(lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.parametrize("name", ["user"])
def test_an_ordinary_user_gets_the_same(name: str) -> None:
    script = textwrap.dedent(
        """
        from blackstart.lab import Lab, NetworkChaos
        with Lab("a", "b", seed=1) as lab, NetworkChaos(lab) as chaos:
            print(lab["a"].run(["id", "-u"]).stdout.strip())
            chaos.apply_loss("all", 100, when="@2", one_way=True)
            chaos.roam("b")
            import sys
            ask = "import socket; s = socket.socket(2, 3, 17); print('raw')"
            print(lab["a"].run([sys.executable, "-c", ask]).stdout.strip())
        """
    )
    with person(name) as someone:
        ended = someone.run("-c", script)
    if "gives no namespaces" in ended.stderr:
        pytest.skip("needs namespaces: this machine gives an ordinary user none")
    user, raw = ended.stdout.split()
    assert int(user) != 0 and raw == "raw", ended.stderr


def test_tcp_carries_megabytes_over_a_lossy_link(pair: Lab, chaos: NetworkChaos) -> None:
    take = "import socket; s = socket.create_server(('', 9100)); c = s.accept()[0]; n = 0\n" \
        "while d := c.recv(65536): n += len(d)\nprint(n)"
    give = "import socket; s = socket.create_connection(('server', 9100)); s.sendall(bytes(2_000_000))"
    chaos.apply_loss(LINK, 2)
    chaos.apply_delay(LINK, 5, 2)
    taking = pair["server"].popen([sys.executable, "-c", take], stdout=subprocess.PIPE)
    pair["server"].wait_listening(9100, process=taking)
    pair["client"].run([sys.executable, "-c", give], check=True, timeout=500)
    assert taking.communicate(timeout=500)[0] == b"2000000\n"


def test_a_socket_of_this_process_stays_outside(pair: Lab) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.settimeout(0.2)
        with pytest.raises(OSError):
            outside.sendto(b"hi", (pair["server"].address, 9))
            outside.recv(9)
