"""The wire between hosts: every frame of every host comes through here, and most go on at once.

Each host's interface is one end of a veth pair; the other ends lie in a namespace of the lab's own, where one packet
socket each receives and sends. With PACKET_VNET_HDR the kernel's large frames and unfinished checksums pass intact, so
that an unfaulted link costs little; where single packets matter, the offloads of the hosts concerned are switched off.
Delays are kept by one heap and one timer (timerfd: poll has milliseconds only). Needs to be a process of its own: a
stall of anybody else's would be a delay nobody asked for.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping

from blackstart.core.randomness import Seed
from blackstart.lab.emulation import COUNTED, Packet, Stage
from blackstart.lab.frames import connection, is_address_resolution, matches
from blackstart.lab.impairment import Impairment
from blackstart.lab.kernel_engine import Kernel, Work
from blackstart.lab.shortcuts import Shortcuts

_SOL_PACKET, _MEMBERSHIP, _QDISC_BYPASS, _IGNORE_OUTGOING, _VNET_HEADER = 263, 1, 20, 23, 15
_RCVBUFFORCE, _SNDBUFFORCE, _EVERY_PROTOCOL, _PROMISCUOUS = 33, 32, 3, 1
HEADER = 10  # struct virtio_net_hdr, before each frame
_FRAME_MAX = 65_600 + HEADER
_BURST = 64
_BURSTS_BEHIND_MAX = 100  # of one host that never stops sending
_REMEMBERED = 1000
_SIOCETHTOOL = 0x8946
# Commands of linux/ethtool.h that set: checksums of what is sent, TCP and generic segmentation, merging of what comes.
_OFFLOADS = (0x17, 0x1F, 0x24, 0x2C)
_libc = ctypes.CDLL(None, use_errno=True)


class Port:
    """One host's end of the wire."""

    def __init__(
        self, number: int, host: str, network: str, mac: bytes, interface: str, tap: str, inside: socket.socket,
        name: str,
    ) -> None:  # fmt: skip
        """tap: where what the host sends is read, the interface itself or another; inside: any socket of the host's
        namespace, name: its interface there."""
        self.number = number
        self.host = host
        self.network = network
        self.mac = mac
        self.interface = interface
        self.index = socket.if_nametoindex(interface)
        self.has_tap = tap != interface
        self.socket = _packet_socket(tap)
        self._sending = _packet_socket(interface, receives=False) if self.has_tap else self.socket
        self.send = self._sending.send
        self._inside, self._name = inside, name
        self._outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._has_offloads = True

    def close(self) -> None:
        """Neither read nor send any more."""
        self.socket.close()
        self._sending.close()

    def offload(self, on: bool) -> None:
        """Let the kernel join packets and leave checksums undone, or not, on both ends."""
        if on != self._has_offloads:
            for command in _OFFLOADS:
                _ethtool(self._inside, self._name, command, on)
                _ethtool(self._outside, self.interface, command, on)
            self._has_offloads = on


class Entry:
    """One fault of the wire: who gets less from whom, and what becomes of it; a partition has no impairment."""

    def __init__(self, number: int, pairs: frozenset[tuple[str, str]], wish: Impairment | None, seed: Seed) -> None:
        """pairs: (sender, receiver)."""
        self.number = number
        self.pairs = pairs
        self.impairment = wish
        self.dropped = 0
        self.in_kernel: dict[Port, Work] = {}
        self._seed = seed
        self._known: set[bytes] = set()
        self._stages: dict[tuple[str, str], Stage] = {}

    def stage(self, pair: tuple[str, str], held: dict[tuple[str, str], int]) -> Stage:
        """The memory of this impairment on one directed path."""
        found = self._stages.get(pair)
        if found is None:
            assert self.impairment is not None
            source = self._seed.source("link", self.number, *pair)
            found = self._stages[pair] = Stage(self.impairment, source, lambda: held.get(pair, 0))
        return found

    def has_forgotten(self, frame: memoryview) -> bool:
        """Whether it belongs to a TCP connection whose beginning this fault has not seen."""
        found = connection(frame)
        if found is None:
            return False
        if found[1]:
            self._known.add(found[0])
        return found[0] not in self._known

    def counts(self) -> dict[str, int]:
        """What this fault has done so far, over all its paths."""
        total = {name: sum(stage.counts[name] for stage in self._stages.values()) for name in COUNTED}
        total["dropped"] += self.dropped
        total["seen"] += self.dropped
        for work in self.in_kernel.values():
            seen, dropped = work.counts()
            total["seen"] += seen
            total["dropped"] += dropped
            if self.impairment is not None and self.impairment.delay_ms:
                total["delayed"] += seen - dropped
        return total


class Relay:
    """All ports, all entries, and the packets that wait."""

    def __init__(self, seed: Seed) -> None:
        self.seed = seed
        self.ports: list[Port] = []
        self.entries: dict[int, Entry] = {}
        self.past: dict[int, dict[str, int]] = {}  # what healed ones had done
        self.timer = _timer()
        self.shortcuts: Shortcuts | None = None
        self.kernel: Kernel | None = None
        self._in_kernel: Mapping[Port, Entry] = {}  # ports at which the kernel does all that is to be done
        self._buffer = memoryview(bytearray(_FRAME_MAX))  # what is sent on at once is never copied
        self._by_mac: dict[tuple[str, bytes], Port] = {}
        self._by_pair: dict[tuple[str, str], list[Entry]] = {}
        self._waiting: list[tuple[float, int, Port, Packet, tuple[str, str]]] = []
        self._held: dict[tuple[str, str], int] = {}
        self._heals: list[tuple[float, int]] = []
        self._sequence = self._numbered = 0
        self._armed_s = 0.0
        self.forwarded = self.refused = 0

    def close(self) -> None:
        """Let go of all ports at once: for each of its sockets the kernel waits until every processor has passed by."""
        closing = [threading.Thread(target=port.close) for port in self.ports]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()

    def add(self, port: Port) -> None:
        self.ports.append(port)
        self._by_mac[port.network, port.mac] = port

    def apply(self, pairs: Iterable[tuple[str, str]], wish: Impairment | None, lasts_s: float) -> int:
        """From now on, and with lasts_s > 0 for so long; the number by which it is healed."""
        self.catch_up()
        number = self._numbered = self._numbered + 1
        self.entries[number] = Entry(number, frozenset(pairs), wish, self.seed)
        if lasts_s:
            heapq.heappush(self._heals, (time.monotonic() + lasts_s, number))
        self._arrange()
        return number

    def heal(self, number: int) -> None:
        """Packets that wait already keep their time; healing what is healed changes nothing."""
        self.catch_up()
        healed = self.entries.pop(number, None)
        if healed is not None:
            self.past[number] = healed.counts()
            for oldest in list(self.past)[:-_REMEMBERED]:
                del self.past[oldest]
            self._arrange()

    def _arrange(self) -> None:
        self._by_pair = {}
        for entry in self.entries.values():
            for pair in entry.pairs:
                self._by_pair.setdefault(pair, []).append(entry)
        picky = {
            host
            for entry in self.entries.values()
            if entry.impairment is not None and entry.impairment.acts_on_packets
            for pair in entry.pairs
            for host in pair
        }
        for port in self.ports:
            port.offload(port.host not in picky)
        if self.kernel is not None:
            self._in_kernel = self.kernel.arrange(self.ports, self._by_pair)
        if self.shortcuts is not None:
            self.shortcuts.close_unless(self._is_free)
        self._arm()

    def _is_free(self, port: Port, target: Port) -> bool:
        """Whether what one sends to the other needs nothing of the relay."""
        return (port.host, target.host) not in self._by_pair or target in self._in_kernel

    def catch_up(self) -> None:
        """Take what has come before now: it meets the faults that were there when it was sent, and is counted."""
        for port in self.ports:
            for _ in range(_BURSTS_BEHIND_MAX):
                if not self.receive(port):
                    break

    def receive(self, port: Port) -> bool:
        """Take what has come from this host, a bounded number at a time; whether there may be more."""
        read, buffer = port.socket.recv_into, self._buffer
        for _ in range(_BURST):
            try:
                length = read(buffer)
            except OSError:  # nothing more; or the host is gone, or its interface is down
                return False
            self._forward(port, buffer[:length])
        return True

    def _forward(self, port: Port, data: memoryview) -> None:
        target = self._by_mac.get((port.network, bytes(data[HEADER : HEADER + 6])))
        if target is not None and target is not port:
            self._send(port, target, data)
            if port.has_tap and self.shortcuts is not None and self._is_free(port, target):
                self.shortcuts.open(port, target)
        else:
            for other in self.ports:
                if other is not port and other.network == port.network:
                    self._send(port, other, data)

    def _send(self, port: Port, target: Port, data: memoryview) -> None:
        pair = (port.host, target.host)
        entries = self._by_pair.get(pair)
        if not entries or target in self._in_kernel:
            self._emit(target, data)
            return
        now_s = time.monotonic()
        for packet in self._through(entries, pair, Packet(bytes(data), now_s)):
            if packet.due_s <= now_s:
                self._emit(target, packet.data)
            else:
                self._sequence += 1
                self._held[pair] = self._held.get(pair, 0) + 1
                heapq.heappush(self._waiting, (packet.due_s, self._sequence, target, packet, pair))
        self._arm()

    def _through(self, entries: list[Entry], pair: tuple[str, str], packet: Packet) -> list[Packet]:
        frame = memoryview(packet.data)[HEADER:]
        is_spared = is_address_resolution(frame)
        packets = [packet]
        for entry in entries:
            wish = entry.impairment
            if wish is None:
                entry.dropped += 1
                return []
            if is_spared or not matches(frame, wish.protocol, wish.port):
                continue
            if wish.forgets_connections and entry.has_forgotten(frame):
                entry.dropped += 1
                return []
            stage = entry.stage(pair, self._held)
            packets = [sent for one in packets for sent in stage.passes(one, HEADER)]
        return packets

    def _emit(self, target: Port, data: bytes | memoryview) -> None:
        try:
            target.send(data)
            self.forwarded += 1
        except OSError:  # its queue is full, its interface is down, or the host is gone
            self.refused += 1

    def tick(self) -> None:
        """Send what is due, heal what has lasted long enough."""
        now_s = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now_s:
            _, _, target, packet, pair = heapq.heappop(self._waiting)
            self._held[pair] -= 1
            self._emit(target, packet.data)
        while self._heals and self._heals[0][0] <= now_s:
            self.heal(heapq.heappop(self._heals)[1])
        self._arm()

    def _arm(self) -> None:
        due = [queue[0][0] for queue in (self._waiting, self._heals) if queue]
        wanted_s = min(due, default=0.0)
        if wanted_s != self._armed_s:
            self._armed_s = wanted_s
            whole = int(wanted_s)
            times = struct.pack("qqqq", 0, 0, whole, int((wanted_s - whole) * 1e9))
            _libc.timerfd_settime(self.timer, 1, times, None)

    def timer_fired(self) -> None:
        """Read the timer empty, then do what is due."""
        try:
            os.read(self.timer, 8)
        except BlockingIOError:
            pass
        self._armed_s = -1.0
        self.tick()


def _timer() -> int:
    descriptor = int(_libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} (timerfd_create)")
    return descriptor


def _packet_socket(interface: str, *, receives: bool = True) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
    made.setsockopt(_SOL_PACKET, _VNET_HEADER, 1)
    made.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
    for option, size_option in ((_RCVBUFFORCE, socket.SO_RCVBUF), (_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            made.setsockopt(socket.SOL_SOCKET, option, 32 << 20)
        except PermissionError:  # only root of the machine may exceed its limit
            made.setsockopt(socket.SOL_SOCKET, size_option, 32 << 20)
    index = socket.if_nametoindex(interface)
    made.setsockopt(_SOL_PACKET, _MEMBERSHIP, struct.pack("iHH8s", index, _PROMISCUOUS, 0, b""))
    made.bind((interface, _EVERY_PROTOCOL if receives else 0))
    made.setblocking(False)
    return made


def _ethtool(through: socket.socket, interface: str, command: int, on: bool) -> None:
    value = ctypes.create_string_buffer(struct.pack("=II", command, int(on)))
    request = struct.pack("16sQ", interface.encode(), ctypes.addressof(value))
    try:
        fcntl.ioctl(through.fileno(), _SIOCETHTOOL, request)
    except OSError:  # the host is gone
        pass
