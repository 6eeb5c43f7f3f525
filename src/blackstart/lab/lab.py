"""Hosts and links on one machine, without root: a lab is made of network namespaces and is gone when its owner is.

    with Lab("client", "server") as lab:
        server = lab["server"].popen(["python3", "-m", "http.server", "8000"])
        lab["server"].wait_listening(8000)
        with NetworkChaos(lab).apply_delay(("client", "server"), 200):
            lab["client"].run(["curl", "-sS", "http://server:8000/"])

Hosts find each other by name. Every frame between them goes through one process, the keeper, where faults happen; it
holds the namespaces too, so that nothing of the machine (interfaces, routes, firewall, sysctls) is ever touched and
nothing is left when this process is killed.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, BinaryIO

import msgspec

from blackstart.core.clock import SystemClock
from blackstart.core.randomness import Seed
from blackstart.lab.impairment import AUTO, EMULATOR, NETEM, LabError
from blackstart.lab.process import Process
from blackstart.sandbox import wire

HOSTS_MAX = 1000
NETWORK, ALL = "lan", "all"
_BOOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "boot.py")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_FIRST_NETWORK = ipaddress.IPv4Network("10.97.0.0/16")
_START_S, _ANSWER_S, _END_S = 30.0, 30.0, 20.0
_POLL_S = 0.01
Stream = int | IO[Any] | None


class LabUnavailable(LabError):
    """This machine refuses what a lab needs."""

    exit_status = 3


class Interface(msgspec.Struct, frozen=True):
    """Where a host is attached: network, IPv4 address, length of its prefix, Ethernet address in hexadecimal."""

    network: str
    address: str
    prefix: int
    mac: str


def addressed(networks: Mapping[str, Sequence[str]]) -> dict[str, tuple[Interface, ...]]:
    """The interfaces of each host, from the networks and the hosts on each; in each network they count from 1.

    Raises LabError for names that are no host names, stand twice in one network, or are too many.
    """
    found: dict[str, list[Interface]] = {}
    for at, (network, hosts) in enumerate(networks.items()):
        for name in hosts:
            _check_name(name)
        if len(set(hosts)) != len(hosts):
            twice = next(name for name in hosts if list(hosts).count(name) > 1)
            raise LabError(f"host {twice!r} stands twice in network {network!r}", next_step="name each host once")
        block = int(_FIRST_NETWORK.network_address) + (at << 16)
        for number, name in enumerate(hosts, 1):
            address = str(ipaddress.IPv4Address(block + number // 250 * 256 + number % 250 + 1))
            mac = bytes([2, 0, at, 0, number >> 8, number & 255]).hex()
            found.setdefault(name, []).append(Interface(network, address, _FIRST_NETWORK.prefixlen, mac))
    seen: dict[str, str] = {}
    for name in found:
        if (other := seen.setdefault(name.lower(), name)) != name:
            what = f"hosts {other!r} and {name!r} have one name: upper and lower case are the same there"
            raise LabError(what, next_step="name them apart")
    if not found:
        raise LabError("a lab without hosts", next_step='name some: Lab("client", "server")')
    if len(found) > HOSTS_MAX or len(networks) > 100:
        limits = f"at most {HOSTS_MAX} hosts, and 100 networks"
        raise LabError(f"{len(found)} hosts in {len(networks)} networks are too many", next_step=limits)
    return {name: tuple(interfaces) for name, interfaces in found.items()}


def _check_name(name: object) -> None:
    if isinstance(name, list | tuple | set):
        step = f"write Lab({', '.join(map(repr, name or ('client', 'server')))})"
        raise LabError(f"{name!r} is no name for a host: each is an argument of its own", next_step=step)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise LabError(f"{name!r} is no name for a host", next_step="use letters, digits and inner hyphens")
    if name.lower() in (ALL, "localhost"):
        meant = "every host" if name.lower() == ALL else "each host itself"
        raise LabError(f"{name!r} is no name for a host: it means {meant}", next_step="give it another")
    try:
        socket.inet_aton(name)
    except OSError:
        return
    raise LabError(f"{name!r} is no name for a host: it is read as an address", next_step="begin it with a letter")


class Host:
    """One host of a lab: programs run here see its interfaces and no others."""

    def __init__(self, lab: Lab, name: str, interfaces: tuple[Interface, ...]) -> None:
        self.name = name
        self.interfaces = interfaces
        self._lab = lab

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"

    @property
    def address(self) -> str:
        """Its IPv4 address in its first network."""
        return self.interfaces[0].address

    def popen(
        self, argv: Sequence[str], *, stdin: Stream = None, stdout: Stream = None, stderr: Stream = None,
        env: Mapping[str, str] | None = None, cwd: str | None = None,
    ) -> Process:  # fmt: skip
        """Start a program here, in a session of its own; streams as for subprocess.Popen, env as there.

        Raises LabError where it cannot be started.
        """
        if not argv:
            raise LabError("no program to start", where=self.name, next_step="name one, and then its arguments")
        with contextlib.ExitStack() as ours:
            pipes: list[BinaryIO | None] = []
            streams: list[int] = []
            for number, wanted in enumerate((stdin, stdout, stderr)):
                stream, pipe = _stream(number, wanted, streams, ours)
                streams.append(stream)
                pipes.append(pipe)
            report, told = os.pipe2(os.O_CLOEXEC)
            ours.callback(os.close, told)
            message = {
                "do": "spawn", "host": self.name, "argv": [wire.text(os.fsencode(word)) for word in argv],
                "env": {k: wire.text(os.fsencode(v)) for k, v in (os.environ if env is None else env).items()},
                "cwd": wire.text(os.fsencode(cwd or os.getcwd())),
            }  # fmt: skip
            try:
                _, (pidfd,) = self._lab.ask(message, [*streams, told])
            except BaseException:
                os.close(report)
                for pipe in pipes:
                    if pipe is not None:
                        pipe.close()
                raise
        return Process(tuple(argv), pidfd, report, pipes)

    def run(
        self, argv: Sequence[str], *, input: str = "", timeout: float | None = 60.0, check: bool = False,
        env: Mapping[str, str] | None = None, cwd: str | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a program here to its end and keep what it says; after `timeout` seconds it is killed.

        Raises LabError, subprocess.TimeoutExpired, and with check subprocess.CalledProcessError.
        """
        pipe = subprocess.PIPE
        process = self.popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd=cwd)
        try:
            out, err = process.communicate(os.fsencode(input), timeout)
        except BaseException:
            process.kill()
            process.close()
            raise
        ended = subprocess.CompletedProcess(list(argv), process.returncode or 0, _read(out), _read(err))
        if check:
            ended.check_returncode()
        return ended

    def wait_listening(
        self, port: int, protocol: str = "tcp", timeout: float = 30.0, process: Process | None = None
    ) -> None:
        """Until a program here listens on this port; asks the kernel, so no connection is made.

        process: the program that is to do so. Raises LabError when it ends first, or after `timeout` seconds.
        """
        clock = SystemClock()
        end_s = clock.monotonic() + timeout
        question = {"do": "listening", "host": self.name, "protocol": protocol}
        while port not in self._lab.ask(question)[0]["ports"]:
            told = f"nothing listens on {protocol} port {port} of {self.name}"
            if process is not None and process.poll() is not None:
                raise LabError(f"{told}: {process.args[0]} ended with {process.returncode}", where=self.name)
            if clock.monotonic() > end_s:
                step = "give it more time, or the right port"
                raise LabError(f"{told} after {timeout:g} s", where=self.name, next_step=step)
            clock.sleep(_POLL_S)

    def moved(self, address: str, prefix: int, interface: int = 0) -> None:
        """Note a new address."""
        changed = list(self.interfaces)
        changed[interface] = msgspec.structs.replace(changed[interface], address=address, prefix=prefix)
        self.interfaces = tuple(changed)


class Lab:
    """A lab, made on entering and gone on leaving; see the module for an example.

    hosts: their names, all on one network; or networks: a name -> the hosts on it (a host may be on several, each then
    an interface of its own: eth0, eth1 ...; nothing is routed between networks). seed: of every draw of its faults.
    adopted: hosts that are there already, as a process id or the path of a network namespace (a container, say); they
    get interfaces lab0, lab1 ... besides their own, and lose them with the lab. That needs root, or that their user
    namespace is ours and `inside` names it (a path). engine: who makes the faults: `emulator`, `netem` (the
    kernel's; it takes those that it can do and that are the only one on all that goes to a host), or `auto`: netem
    where the kernel has it.
    """

    # Whether frames that no fault means may bypass the keeper; not where hosts share an Ethernet address.
    _takes_shortcuts = True

    def __init__(
        self, *hosts: str, networks: Mapping[str, Sequence[str]] | None = None, seed: int | None = None,
        adopted: Mapping[str, int | str] | None = None, roles: Mapping[str, Sequence[str]] | None = None,
        inside: str = "", engine: str = EMULATOR,
    ) -> None:  # fmt: skip
        self.adopted = dict(adopted or {})
        self._inside = inside
        if engine not in (EMULATOR, NETEM, AUTO):
            raise LabError(f"no engine {engine!r}", next_step=f"engines are {EMULATOR}, {NETEM} and {AUTO}")
        self.engine = engine
        if len(self.adopted) > wire.DESCRIPTORS_MAX:
            raise LabError(f"{len(self.adopted)} adopted hosts", next_step=f"at most {wire.DESCRIPTORS_MAX}")
        if hosts and networks:
            raise LabError("both hosts and networks were given", next_step="put the hosts into the networks")
        all_hosts = (*hosts, *(name for name in self.adopted if name not in hosts))
        self.networks = {name: tuple(on) for name, on in (networks or {NETWORK: all_hosts}).items()}
        self.seed = Seed.fresh().number if seed is None else seed
        self.hosts = {name: Host(self, name, interfaces) for name, interfaces in addressed(self.networks).items()}
        self.roles = {name: tuple(having) for name, having in (roles or {}).items()}
        for name, having in self.roles.items():
            if name in self.hosts or name == ALL:
                raise LabError(f"role {name!r} is named as {'a host' if name in self.hosts else 'all hosts'} is")
            if not having:
                raise LabError(f"role {name!r} has no hosts", next_step="name those that have it")
            for one in having:
                self[one]
        self._control: socket.socket | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Lab({', '.join(map(repr, self.hosts))}, seed={self.seed})"

    def __getitem__(self, name: str) -> Host:
        if name not in self.hosts:
            roles = f"; its roles {', '.join(self.roles)}" if self.roles else ""
            raise LabError(f"no host {name!r} in this lab", next_step=f"its hosts are {', '.join(self.hosts)}{roles}")
        return self.hosts[name]

    def hosts_of(self, name: str | Host) -> list[str]:
        """The host of this name, or those that have this role; LabError if there are none."""
        if isinstance(name, str) and name in self.roles:
            return list(self.roles[name])
        return [self[name if isinstance(name, str) else name.name].name]

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts.values())

    def __enter__(self) -> Lab:
        if self._control is not None:
            raise LabError("this lab is open already", next_step="make a second one for more hosts")
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as opened:
            passed = [theirs.fileno()]
            if self._inside:
                passed.append(_namespace(self._inside, opened))
            arguments = [json.dumps(sys.path), *map(str, [*passed, -1][:2])]
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", _BOOT, *arguments], pass_fds=passed, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._control = ours
        try:
            self._begin(ours)
        except BaseException:
            self.close()
            raise
        return self

    def _begin(self, control: socket.socket) -> None:
        try:
            hello, _ = wire.receive(control, _START_S)
        except (wire.Closed, wire.Late) as error:
            raise LabUnavailable("the lab's process did not start", next_step="see what it printed") from error
        if "error" in hello:
            raise LabUnavailable(
                f"this machine gives no namespaces: {hello['error']}",
                next_step="allow unprivileged user namespaces (sysctl user.max_user_namespaces, "
                "kernel.apparmor_restrict_unprivileged_userns=0), or run as root; in a container, outside of it",
            )
        adopted = {name: number for number, name in enumerate(self.adopted)}
        hosts = [
            {"name": host.name, "interfaces": msgspec.to_builtins(host.interfaces), "adopted": adopted.get(host.name)}
            for host in self
        ]
        with contextlib.ExitStack() as opened, tempfile.NamedTemporaryFile("w", prefix="blackstart-lab-") as names:
            os.fchmod(names.fileno(), 0o644)
            names.write("127.0.0.1 localhost\n" + "".join(f"{h.address} {h.name}\n" for h in self))
            names.flush()
            namespaces = [_namespace(where, opened) for where in self.adopted.values()]
            order = {"do": "build", "hosts": hosts, "seed": self.seed, "names": names.name}
            self.ask({**order, "shortcuts": self._takes_shortcuts, "engine": self.engine}, namespaces)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every program of the lab and take it down; does nothing where that is done."""
        control, self._control = self._control, None
        keeper, self._keeper = self._keeper, None
        if control is not None:
            control.close()
        if keeper is not None:
            try:
                keeper.wait(_END_S)
            except subprocess.TimeoutExpired:  # it hangs, or somebody stopped it
                keeper.kill()
                keeper.wait()

    def ask(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> tuple[dict[str, Any], list[int]]:
        """One request to the keeper, and its answer with the descriptors that came along. Raises LabError."""
        with self._lock:
            if self._control is None:
                raise LabError("this lab is not open", next_step="use it inside `with Lab(...) as lab:`")
            try:
                wire.send(self._control, dict(message), descriptors)
                answer, came = wire.receive(self._control, _ANSWER_S)
            except wire.Closed as error:
                raise LabError("the lab is gone: its process was ended", next_step="make a new one") from error
            except wire.Late as error:
                # Its answer, once it came, would be taken for that to the next request.
                control, self._control = self._control, None
                control.close()
                what = f"the lab is gone: its process did not answer for {_ANSWER_S:g} s"
                raise LabError(what, next_step="look whether the machine hangs, and make a new one") from error
        if "error" in answer:
            for descriptor in came:
                os.close(descriptor)
            where = answer.get("where") or str(message.get("host", ""))
            raise LabError(answer["error"], where=where, next_step=answer.get("next", ""))
        return answer, came


def _namespace(where: int | str, opened: contextlib.ExitStack) -> int:
    """A descriptor of the network namespace of a process, or at a path."""
    path = f"/proc/{where}/ns/net" if isinstance(where, int) else where
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        step = "name a process that runs, or a path such as /run/netns/NAME"
        what = f"this network namespace cannot be opened: {error.strerror}"
        raise LabError(what, where=path, next_step=step) from None
    opened.callback(os.close, descriptor)
    if os.fstat(descriptor).st_ino == os.stat("/proc/self/ns/net").st_ino:
        step = "adopt a process or a container that has a network of its own"
        raise LabError("this is the network that blackstart itself runs in", where=path, next_step=step)
    return descriptor


def _stream(
    number: int, wanted: Stream, before: Sequence[int], ours: contextlib.ExitStack
) -> tuple[int, BinaryIO | None]:
    """(descriptor for the program, our end of a pipe)"""
    if wanted is None:
        return number, None
    if wanted == subprocess.STDOUT:
        return before[1], None
    if wanted == subprocess.DEVNULL:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        ours.callback(os.close, null)
        return null, None
    if wanted == subprocess.PIPE:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        theirs, kept = (reading, writing) if number == 0 else (writing, reading)
        ours.callback(os.close, theirs)
        return theirs, os.fdopen(kept, "wb" if number == 0 else "rb", buffering=0)
    return (wanted if isinstance(wanted, int) else wanted.fileno()), None


def _read(data: bytes) -> str:
    return data.decode("utf-8", "replace")
