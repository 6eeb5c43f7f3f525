"""The process that holds a lab: its namespaces, the wire between its hosts, and everything that runs in them.

It is process 1 of a PID namespace of its own and ends when the socket to its owner closes. So whatever ends the owner,
SIGKILL included, the kernel then ends every process of the lab and drops its interfaces: there is nothing to undo.
Namespaces have no names anywhere. As an ordinary user all this lies in a user namespace, in which the user stays who
they are; their programs keep the right to change and to watch the lab's own interfaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import ipaddress
import os
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.core.randomness import Seed
from blackstart.lab.impairment import EMULATOR, NETEM, Impairment, LabError
from blackstart.lab.kernel_engine import Kernel
from blackstart.lab.relay import Port, Relay
from blackstart.lab.rtnetlink import Netlink
from blackstart.lab.shortcuts import Shortcuts
from blackstart.sandbox import kernel, wire

_GET_INDEX = 0x8933  # SIOCGIFINDEX
_OWN_NETWORK = "/proc/thread-self/ns/net"
_NETWORK_RIGHTS = ("net_admin", "net_raw", "net_bind_service")
EXEC_FAILED = 127
ADOPTED = "lab"  # how the lab's interfaces in somebody else's namespace are called
NEAR_PORTS, FAR_PORTS = (32768, 46000), (46001, 60999)


class Inside:
    """One host's network namespace and the sockets that stay bound to it."""

    def __init__(self, name: str, namespace: int, prefix: str) -> None:
        """The calling thread is in that namespace now; prefix: of the names of the lab's interfaces there."""
        self.name = name
        self.namespace = namespace
        self.prefix = prefix
        self.netlink = Netlink()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addresses: list[tuple[str, int]] = []

    def index(self, number: int) -> int:
        """The kernel's number of the lab's so-manieth interface there."""
        interface = f"{self.prefix}{number}"
        try:
            request = fcntl.ioctl(self.socket.fileno(), _GET_INDEX, struct.pack("16sI20x", interface.encode(), 0))
        except OSError:
            step = "make a new lab: somebody removed it"
            raise LabError(f"host {self.name!r} has no {interface} any more", where=self.name, next_step=step) from None
        return int(struct.unpack_from("=I", request, 16)[0])


class Keeper:
    """Answers its owner's requests, one at a time, between two packets."""

    def __init__(self, control: socket.socket, *, is_own_user_namespace: bool) -> None:
        self._control = control
        # A host takes about seven descriptors; the programs in it keep the limit that their owner has.
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._descriptors[1],) * 2)
        self._is_own_user_namespace = is_own_user_namespace
        self._base = os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
        self._netlink = Netlink()
        self._hosts: dict[str, Inside] = {}
        self._running: dict[int, int] = {}
        self._relay = Relay(Seed(0))
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[], object]] = {}
        self._is_over = False

    def run(self) -> None:
        """Until the owner closes the lab, or is gone."""
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._watch(wake, lambda: self._reap(wake))
        self._watch(self._control.fileno(), self._answer)
        gc.freeze()
        gc.disable()  # a pause would be a delay that nobody asked for
        while not self._is_over:
            for descriptor, _ in self._epoll.poll():
                self._ready[descriptor]()
        self._relay.close()

    def _watch(self, descriptor: int, act: Callable[[], object]) -> None:
        self._ready[descriptor] = act
        self._epoll.register(descriptor, select.EPOLLIN)

    def _answer(self) -> None:
        try:
            message, descriptors = wire.receive(self._control)
        except wire.Closed:
            self._is_over = True
            return
        attached: list[int] = []
        try:
            reply = getattr(self, f"_do_{message.pop('do')}")(descriptors=descriptors, attached=attached, **message)
        except BlackstartError as error:
            reply = {"error": error.what, "where": error.where, "next": error.next_step}
        except (OSError, msgspec.ValidationError) as error:
            reply = {"error": str(error)}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        with contextlib.suppress(wire.Closed):
            wire.send(self._control, reply or {}, attached)
        for descriptor in attached:
            os.close(descriptor)

    def _do_build(
        self, hosts: Sequence[Mapping[str, Any]], seed: int, names: str, shortcuts: bool, engine: str,
        descriptors: list[int], **_: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """hosts: name, for each interface network, address, prefix and mac, and adopted: None, or which of the
        descriptors is the network namespace that becomes the host; names: a file for /etc/hosts."""
        kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
        for source, place, kind, flags in (("proc", "/proc", "proc", 0), (names, "/etc/hosts", "", kernel.MS_BIND)):
            # Some containers cover parts of /proc, and then refuse a fresh one: only its view of processes is lost.
            with contextlib.suppress(OSError):
                kernel.mount(source, place, kind, flags)
        self._relay = Relay(Seed(seed))
        self._watch(self._relay.timer, self._relay.timer_fired)
        self._relay.shortcuts = Shortcuts(self._netlink, self._base) if shortcuts else None
        for wanted in hosts:
            adopted = wanted["adopted"]
            name = wanted["name"]
            host = self._new_host(name) if adopted is None else self._adopt(name, descriptors[adopted])
            self._hosts[name] = host
            _enter(self._base)
            for number, interface in enumerate(wanted["interfaces"]):
                self._add_interface(host, number, interface)
        if engine != EMULATOR:
            self._use_kernel(seed, engine)
        return {}

    def _new_host(self, name: str) -> Inside:
        kernel.unshare(kernel.NEWNET)
        host = Inside(name, os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC), "eth")
        group = os.getgid()
        with contextlib.suppress(OSError):  # a plain user may ping; not where /proc cannot be written
            kernel.write_setting("/proc/sys/net/ipv4/ping_group_range", b"%d %d" % (group, group))
        host.netlink.set_up()
        return host

    def _adopt(self, name: str, namespace: int) -> Inside:
        """Somebody else's network namespace: only the lab's interfaces are added to it, under names of their own."""
        try:
            _enter(namespace)
        except OSError as error:
            step = "name a process or a network namespace, as root (or of a user namespace of your own)"
            raise LabError(f"host {name!r} cannot be adopted: {error.strerror}", where=name, next_step=step) from None
        return Inside(name, os.dup(namespace), ADOPTED)

    def _add_interface(self, host: Inside, number: int, wanted: Mapping[str, Any]) -> None:
        name = f"{host.prefix}{number}"
        outside = f"port{len(self._relay.ports)}"
        mac = bytes.fromhex(wanted["mac"])
        if host.prefix == ADOPTED:
            _refuse_clash(host, name, wanted)
        # Locally administered, and another first byte than the hosts' own.
        self._netlink.add_veth(outside, b"\x06" + mac[1:], name, mac, host.namespace)
        here, index = socket.if_nametoindex(outside), host.index(number)
        self._netlink.silence(here)
        host.netlink.silence(index)
        self._netlink.set_up(here)
        if wanted["address"]:
            host.netlink.add_address(index, wanted["address"], wanted["prefix"])
        host.addresses.append((wanted["address"], wanted["prefix"]))
        host.netlink.set_up(index)
        count = len(self._relay.ports)
        tap = self._tap(outside, count)
        port = Port(count, host.name, wanted["network"], mac, outside, tap, host.socket, name)
        self._relay.add(port)
        self._watch(port.socket.fileno(), lambda: self._relay.receive(port))

    def _use_kernel(self, seed: int, engine: str) -> None:
        kernel_engine, ports = Kernel(self._netlink, Seed(seed)), self._relay.ports
        if all(port.has_tap for port in ports) and all(kernel_engine.works(port) for port in ports):
            self._relay.kernel = kernel_engine
        elif engine == NETEM:
            raise LabError(
                "this kernel has no netem, or cannot redirect packets to it",
                next_step="load the modules sch_netem, cls_u32 and act_mirred, or take the engine `emulator`",
            )

    def _tap(self, interface: str, number: int) -> str:
        """Where the relay reads what comes to this interface: there, where the kernel cannot redirect it."""
        if self._relay.shortcuts is not None:
            try:
                return self._relay.shortcuts.tap(interface, number)
            except OSError:
                self._relay.shortcuts = None
        return interface

    def _do_spawn(
        self, host: str, argv: Sequence[str], env: Mapping[str, str], cwd: str, descriptors: list[int],
        attached: list[int], **_: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Start a program; descriptors: its standard streams, and where its exit status is written when it ends."""
        *streams, report = descriptors
        ready, failed = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self._become(self._hosts[host].namespace, argv, env, cwd, streams, failed)
        os.close(failed)
        with os.fdopen(ready, "rb") as trouble:
            why = trouble.read()
        if why:
            os.waitpid(pid, 0)
            return {"error": why.decode("utf-8", "surrogateescape")}
        self._running[pid] = os.dup(report)
        attached.append(os.pidfd_open(pid))
        return {"pid": pid}

    def _become(
        self, namespace: int, argv: Sequence[str], env: Mapping[str, str], cwd: str, streams: list[int], failed: int
    ) -> None:
        failing = f"host {argv[0]} is to run on cannot be entered"
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            resource.setrlimit(resource.RLIMIT_NOFILE, self._descriptors)
            for target, stream in enumerate(streams):
                os.dup2(stream, target)
            if os.isatty(0):
                with contextlib.suppress(OSError):  # it is another session's, and stays that
                    fcntl.ioctl(0, 0x540E, 0)  # TIOCSCTTY
            _enter(namespace)
            failing = f"{cwd} cannot be entered"
            os.chdir(wire.raw(cwd))
            failing = f"{argv[0] or argv} cannot be started"
            if self._is_own_user_namespace:
                kernel.pass_on_capabilities(_NETWORK_RIGHTS)
            variables = {wire.raw(name): wire.raw(value) for name, value in env.items()}
            os.execvpe(wire.raw(argv[0]), [wire.raw(word) for word in argv], variables)
        except (OSError, ValueError) as error:  # ValueError: words and variables that no program can have
            why = getattr(error, "strerror", None) or str(error)
            os.write(failed, f"{failing}: {why}".encode("utf-8", "surrogateescape"))
        finally:
            os._exit(EXEC_FAILED)

    def _reap(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            report = self._running.pop(pid, None)  # None: an orphan that became ours
            if report is not None:
                with contextlib.suppress(OSError):
                    os.write(report, struct.pack("=i", os.waitstatus_to_exitcode(status)))
                os.close(report)

    def _do_listening(self, host: str, protocol: str, **_: Any) -> dict[str, Any]:
        """The ports on which something listens (tcp) or is bound (udp); proc(5) has the table's form."""
        wanted = "0A" if protocol == "tcp" else "07"
        ports = set()
        _enter(self._hosts[host].namespace)
        try:
            for table in (protocol, protocol + "6"):
                with open(f"/proc/thread-self/net/{table}", encoding="ascii") as lines:
                    rows = [line.split() for line in lines][1:]
                ports |= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == wanted}
        finally:
            _enter(self._base)
        return {"ports": sorted(ports)}

    def _do_apply(self, pairs: Sequence[Sequence[str]], impairment: Any, lasts_s: float, **_: Any) -> dict[str, Any]:
        wish = None if impairment is None else msgspec.convert(impairment, Impairment)
        return {"number": self._relay.apply([(sender, receiver) for sender, receiver in pairs], wish, lasts_s)}

    def _do_heal(self, number: int, **_: Any) -> None:
        self._relay.heal(number)

    def _do_counts(self, **_: Any) -> dict[str, Any]:
        relay = self._relay
        relay.catch_up()
        shortened = sum(port.has_tap for port in relay.ports)
        now = {number: entry.counts() for number, entry in relay.entries.items()}
        entries = {str(number): counts for number, counts in (relay.past | now).items()}
        return {"entries": entries, "forwarded": relay.forwarded, "refused": relay.refused, "shortened": shortened}

    def _do_roam(self, host: str, interface: int, address: str, prefix: int, **_: Any) -> None:
        """The old address is taken away first: a second one would go with it, being its secondary."""
        inside = self._hosts[host]
        index = inside.index(interface)
        inside.netlink.delete_address(index, *inside.addresses[interface])
        inside.netlink.add_address(index, address, prefix)
        inside.addresses[interface] = (address, prefix)

    def _do_join(self, near: str, far: str, **_: Any) -> None:
        """Let each of the two hosts seem to the other to be on its own loopback; `reach` says for which ports.

        Clients there and here take their own ports from ranges that do not meet, which tells an answer to the other
        side from one to a client on the same.
        """
        for name, ports in ((near, NEAR_PORTS), (far, FAR_PORTS)):
            inside = self._hosts[name]
            _enter(inside.namespace)
            try:
                kernel.write_setting("/proc/sys/net/ipv4/ip_local_port_range", b"%d %d" % ports)
            finally:
                _enter(self._base)
            inside.netlink.be_loopback(inside.index(0))

    def _do_reach(self, near: str, far: str, ports: Sequence[Sequence[Any]], **_: Any) -> None:
        """What listens on far's loopback on these (protocol, port) is reached from near's."""
        for protocol, port in ports:
            number = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}[protocol]
            self._hosts[near].netlink.across(number, destinations=(port, port))
            self._hosts[far].netlink.across(number, sources=(port, port), destinations=NEAR_PORTS)

    def _do_switch(self, host: str, interface: int, up: bool, **_: Any) -> None:
        """Take the host's interface down, or up again: the program sees it, unlike a partition."""
        inside = self._hosts[host]
        inside.netlink.set_up(inside.index(interface), up=up)


def _refuse_clash(host: Inside, interface: str, wanted: Mapping[str, Any]) -> None:
    """What an adopted host has already stays as it is."""
    network = ipaddress.IPv4Network(f"{wanted['address'] or '0.0.0.0'}/{wanted['prefix']}", strict=False)
    taken = next((one for one in host.netlink.addresses() if ipaddress.IPv4Address(one) in network), "")
    if wanted["address"] and taken:
        step = f"a lab uses {network}: take that address away, or adopt another host"
        raise LabError(f"host {host.name!r} has the address {taken} already", where=host.name, next_step=step)
    try:
        fcntl.ioctl(host.socket.fileno(), _GET_INDEX, struct.pack("16sI20x", interface.encode(), 0))
    except OSError:
        return
    step = "it may be in another lab: close that first"
    raise LabError(f"host {host.name!r} has an interface {interface} already", where=host.name, next_step=step)


def _enter(namespace: int) -> None:
    kernel.enter_namespace(namespace, kernel.NEWNET)


def _leave_everything(inside: int) -> bool:
    """Leave the caller's namespaces, for the user namespace of the descriptor `inside` (-1: whichever gives the right);
    whether that took a user namespace."""
    wanted = kernel.NEWNET | kernel.NEWPID | kernel.NEWNS
    if inside >= 0:
        kernel.enter_namespace(inside, kernel.NEWUSER)
        kernel.unshare(wanted)
        return True
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        try:
            kernel.unshare(wanted)
            return False
        except PermissionError:  # root of a container, without the right to
            pass
    kernel.unshare(wanted | kernel.NEWUSER)
    kernel.write_setting("/proc/self/setgroups", b"deny")
    kernel.write_setting("/proc/self/uid_map", b"%d %d 1" % (user, user))
    kernel.write_setting("/proc/self/gid_map", b"%d %d 1" % (group, group))
    return True


def main(arguments: list[str]) -> None:
    """arguments: the numbers of the socket to the owner and of the user namespace to work in (-1: none)."""
    control = socket.socket(fileno=int(arguments[0]))
    os.set_inheritable(control.fileno(), False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        is_own_user_namespace = _leave_everything(int(arguments[1]))
    except OSError as error:
        wire.send(control, {"error": str(error)})
        return
    if os.fork():
        control.close()
        status = os.wait()[1]
        sys.exit(os.waitstatus_to_exitcode(status) and 1)
    kernel.die_with_parent()
    wire.send(control, {"pid": 1})
    Keeper(control, is_own_user_namespace=is_own_user_namespace).run()
    os._exit(0)
