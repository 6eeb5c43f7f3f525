"""The target's company in one sandbox: the programs that it needs, and a resolver for their names.

They share the target's network, unless what is between them is to be broken: then they live in a network of their own,
and in the target's a proxy listens wherever one of them does in theirs. So target and workload reach them at their
usual addresses, and a fault finds the one place through which everything passes. A unix socket changes its owner: ours
takes its name, and leads to theirs. The proxy runs outside the sandbox, in a thread of its own, for the target's calls
may all be standing in the gate meanwhile. What `--allow` names outside is reached through such a proxy in every trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from blackstart.core.clock import SYSTEM
from blackstart.core.errors import BlackstartError, SandboxLimit
from blackstart.core.history import Peer
from blackstart.core.randomness import Seed
from blackstart.faults.scene import Broken, CompanyGone
from blackstart.proxy import AddressError, Proxy
from blackstart.proxy.address import TCP, UDP, UNIX, Address
from blackstart.proxy.resolver import Resolver
from blackstart.sandbox import Joint, Sandbox
from blackstart.targets import Command
from blackstart.targets.aside import Aside
from blackstart.targets.census import Steady, datagram_ports, listeners, ports, unix_datagrams
from blackstart.trials import names
from blackstart.trials.networks import Abroad, Between
from blackstart.trials.outside import Outside

T = TypeVar("T")
COMPANION_LIMIT_S, LATE_LIMIT_S = 15.0, 3.0
_ABSTRACT = "no proxy can stand at an abstract name: what listens there is not broken"
_UNIX_DATAGRAMS = "no proxy of ours carries datagrams of unix sockets: what takes them there is not broken"
_TICK_S = 0.02
# A companion's own question to somebody takes less: a port of those that the kernel gives to clients is then its door.
_STEADY_S = 1.0
_CALL_S = 20.0
_EVERYWHERE = ("0.0.0.0", "::")
_INTERNET = re.compile("[0-9A-F]{8}([0-9A-F]{24})?:[0-9A-F]{4}")


class Company:
    """A resident of one sandbox. path: of a peer, as a connect to it shows: `socket:inet:127.0.0.1:80`.

    companions: what it starts, and peers outside, which are reached through proxies always; joint: makes what joins a
    network of the companions' own with the target's; proxied: proxies do; known: paths that were seen to lead to
    companions before.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        companions: Sequence[Command | Outside],
        joint: Callable[[Sandbox], Joint] | None = None,
        *,
        proxied: bool = False,
        known: Sequence[str] = (),
    ) -> None:
        self.numbers: list[int] = []
        self._is_apart = proxied or joint is not None
        self.sandbox = sandbox
        self._commands = [one for one in companions if isinstance(one, Command)]
        outside = [one for one in companions if isinstance(one, Outside)]
        self._abroad = [Address(TCP, address, one.port) for one in outside for address in one.addresses]
        self._cwd = self._commands[0].cwd if self._commands else "/"
        self._asides: list[Aside] = []
        self._proxies: dict[Address, Proxy] = {}
        self._networks: list[Abroad] = []
        self._ears: list[Address] = []  # our own, of the resolver
        self._broken: dict[str, Broken] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="blackstart-company", daemon=True)
        self._thread.start()
        sandbox.residents.append(self)
        self.resolver = Resolver({one.host: one.addresses for one in outside})
        if joint is not None:
            sandbox.joint = joint(sandbox)
        for command in self._commands:
            self._start(command)
        self._addresses = self._listening()
        self._await(known)
        self.call(self._open(self._wanted(known) if proxied else []))

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this in the proxies' loop and give its result; SandboxLimit where that cannot be done here."""
        if self._loop.is_closed():
            work.close()
            raise CompanyGone
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)
        except AddressError as error:
            raise SandboxLimit(f"a peer of the target's cannot be brought back: {error.what}") from None
        except TimeoutError:
            raise SandboxLimit("the proxies of the companions did not answer; the machine may be busy") from None

    # Companions.

    def _start(self, command: Command) -> None:
        """Start one and wait until it listens; it stays over all starts of the target in this sandbox."""
        before, high_before, steady = self._heard() | self._bound(), self._bound(high=True), Steady(_STEADY_S)
        aside = Aside(self.sandbox, command, SYSTEM.monotonic, apart=self._is_apart)
        self._asides.append(aside)
        self.numbers.append(aside.number)
        for descriptor in aside.pipes.descriptors():
            self._loop.call_soon_threadsafe(self._loop.add_reader, descriptor, self._drain, aside, descriptor)
        end_s = SYSTEM.monotonic() + COMPANION_LIMIT_S
        while self._heard() | self._bound() <= before and not steady(
            self._bound(high=True) - high_before, SYSTEM.monotonic()
        ):
            SYSTEM.sleep(_TICK_S)
            self.sandbox.event()
            status = self.sandbox.ended_beside(aside.number)
            if status is not None or SYSTEM.monotonic() > end_s:
                SYSTEM.sleep(_TICK_S)
                said = aside.pipes.text("stderr") or aside.pipes.text("stdout")
                code = "" if status is None else f" (exit status {os.waitstatus_to_exitcode(status)})"
                raise BlackstartError(
                    f"the companion {command.argv[-1]!r} "
                    + (f"ended before the target was started{code}" if code else "does not listen on anything"),
                    where=" | ".join(said.strip().splitlines()[-3:]),
                    next_step="make --with name a program that stays in the foreground and listens on a port",
                    exit_status=3,
                )

        if self.sandbox.joint is not None:
            self.sandbox.joint.reach(ports(self.sandbox.beside_pid(aside.number)))

    def _await(self, known: Sequence[str]) -> None:
        """A companion may open its ports one after the other: wait a while for all those that are known."""
        end_s = SYSTEM.monotonic() + LATE_LIMIT_S
        while not all(map(self.leads_to, known)) and SYSTEM.monotonic() < end_s:
            SYSTEM.sleep(_TICK_S)
            self._addresses = self._listening()

    def _wanted(self, known: Sequence[str]) -> list[Address]:
        """Where proxies stand: at a port of those that the kernel gives to clients only if it was used before."""
        low, used = self._bound(), {place for path in known for place in self._reached(path)}
        plain = {_address(row, self._cwd, UDP) for row in low}
        return [one for one in self._addresses if one.network != UDP or one in plain or one in used]

    def look_again(self) -> None:
        """Learn where companions listen by now; what is proxied stays as it is."""
        self._addresses += [address for address in self._listening() if address not in self._addresses]

    def must_live(self) -> None:
        """SandboxLimit where a companion has ended: what the target then does is not the fault's doing."""
        for command, aside in zip(self._commands, self._asides, strict=True):
            if not self.sandbox.lives_beside(aside.number):
                said = " | ".join((aside.pipes.text("stderr") or aside.pipes.text("stdout")).strip().splitlines()[-1:])
                raise SandboxLimit(f"the companion {command.argv[-1]!r} ended in this trial{said and ': '}{said}")

    def _drain(self, aside: Aside, descriptor: int) -> None:
        if not aside.pipes.read(descriptor):
            self._loop.remove_reader(descriptor)

    def _heard(self) -> set[str]:
        """Where the companions listen, as the kernel shows it."""
        return set().union(*map(listeners, self._where()))

    def _bound(self, *, high: bool = False) -> set[str]:
        """Where they take datagrams; high: at ports that the kernel gives to clients, too, of whom some may be."""
        return set().union(*(datagram_ports(pid, high=high) for pid in self._where()))

    def _where(self) -> list[int]:
        """A process in each network in which they live."""
        if not self._is_apart:
            return [self.sandbox.pid1]
        return [self.sandbox.beside_pid(aside.number) for aside in self._asides]

    def _listening(self) -> list[Address]:
        if not self._commands:
            return []
        streams = (_address(row, self._cwd) for row in sorted(self._heard()))
        found = (*streams, *(_address(row, self._cwd, UDP) for row in sorted(self._bound(high=True))))
        return list(dict.fromkeys(one for one in found if one is not None and one not in self._ears))

    # Peers.

    async def _open(self, addresses: Sequence[Address]) -> None:
        for address in addresses:
            both = address.host == "::" and Address(address.network, "0.0.0.0", address.port) not in addresses
            # A unix socket of a name that is too long, or gone, is reached without us.
            with contextlib.suppress(AddressError):
                await self._join(address, Between(self.sandbox, address, takes_both=both))
        for address in self._abroad:
            await self._join(address, Abroad(self.sandbox, address))
        for host in names.servers(self.sandbox.pid1):
            with contextlib.suppress(OSError):  # somebody else answers there
                await self.resolver.serve(names.ear(self.sandbox, host))
                self._ears.append(Address(UDP, host, names.PORT))

    async def _join(self, address: Address, network: Abroad) -> None:
        self._networks.append(network)
        proxy = Proxy(str(address), str(address), str(address), seed=Seed(0), network=network)
        await proxy.start()
        self._proxies[address] = proxy

    def proxies(self, path: str) -> tuple[Proxy, ...]:
        """The proxies through which what is sent to this path goes: of streams, and of datagrams."""
        return tuple(self._proxies[place] for place in self._reached(path) if place in self._proxies)

    def leads_to(self, path: str) -> Address | None:
        """Where a companion listens that a connect to this path reaches, with streams where a port serves both; None if
        it goes elsewhere.
        """
        return next(iter(self._reached(path)), None)

    def _reached(self, path: str) -> list[Address]:
        """Where it may lead: a path tells no stream from datagrams."""
        wanted = _of_path(path, self._cwd)
        if wanted is None:
            return []
        if wanted in self._abroad:
            return [wanted]
        is_unix = wanted.network == UNIX
        hosts = (wanted.host,) if is_unix else (wanted.host, *_EVERYWHERE)
        of_each = (
            next((place for host in hosts if (place := Address(network, host, wanted.port)) in self._addresses), None)
            for network in ((UNIX,) if is_unix else (TCP, UDP))
        )
        return [place for place in of_each if place is not None]

    def why_whole(self, path: str) -> str:
        """Why a companion that listens at this path cannot be broken; "" where it can, or nobody does."""
        name = path.removeprefix("socket:unix:")
        if name == path:
            return ""
        if set().union(*map(unix_datagrams, self._where())) & {name, os.path.relpath(name, self._cwd)}:
            return _UNIX_DATAGRAMS
        return _ABSTRACT if name.startswith("@") and name in self._heard() else ""

    def breaks(self, path: str, broken: Broken) -> None:
        """Remember what breaks this peer in the start that follows."""
        self._broken[path] = broken

    def told(self) -> tuple[Peer, ...]:
        """What was done to each peer in this start, and what came to it; then all of it is forgotten."""
        broken, self._broken = self._broken, {}
        self.resolver.asked = 0
        return tuple(self.call(_tell(path, one)) for path, one in broken.items())

    def close(self) -> None:
        """End the proxies; the companions end with the sandbox."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(SandboxLimit):
            self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_S)
        for aside in self._asides:
            aside.close()
        for network in self._networks:
            network.close()
        if not self._thread.is_alive():  # else it waits in the kernel, and ends with us
            self._loop.close()

    async def _end(self) -> None:
        for aside in self._asides:
            for descriptor in aside.pipes.descriptors():
                self._loop.remove_reader(descriptor)
        for proxy in self._proxies.values():
            await proxy.delete()
        self.resolver.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


async def _tell(path: str, broken: Broken) -> Peer:
    return broken.told(path)


def _address(row: str, cwd: str, network: str = TCP) -> Address | None:
    """From `0100007F:1F90` of /proc/net/tcp or udp, or a path of /proc/net/unix; abstract names are not taken over."""
    if not _INTERNET.fullmatch(row):
        return None if row.startswith("@") else Address(UNIX, os.path.join(cwd, row))
    host, _, port = row.partition(":")
    words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    text = socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))
    return Address(network, text, int(port, 16))


def _of_path(path: str, cwd: str) -> Address | None:
    """From what the gate calls a socket."""
    for start in ("socket:inet:", "socket:inet6:"):
        if path.startswith(start):
            host, _, port = path.removeprefix(start).rpartition(":")
            return Address("tcp", host.strip("[]"), int(port)) if port.isdecimal() else None
    if path.startswith("socket:unix:") and not path.startswith("socket:unix:@"):
        return Address(UNIX, os.path.join(cwd, path.removeprefix("socket:unix:")))
    return None
