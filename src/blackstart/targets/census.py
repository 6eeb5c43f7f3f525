"""Counting the target's whole process tree, and who listens in its network."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from blackstart.core.history import Census
from blackstart.sandbox.layout import ProcessInfo

_LISTENS, _BOUND = "0A", "07"
# The flags and the type of a unix socket: one that listens for streams, and one that takes datagrams.
_LISTENS_UNIX, _TAKES_UNIX = ("00010000", ""), ("", "0002")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
COMMANDS_MAX = 50


def count(processes: Sequence[ProcessInfo]) -> Census:
    """The tree as numbers."""
    return Census(
        processes=len(processes),
        threads=sum(process.threads for process in processes),
        descriptors=sum(process.descriptors for process in processes),
        memory_bytes=sum(_resident(process.outer_pid) for process in processes),
        commands=tuple(process.command for process in processes[:COMMANDS_MAX]),
    )


def effort(processes: Sequence[ProcessInfo]) -> tuple[float, int]:
    """(CPU seconds, calls and bytes of reading and writing so far): whoever tries anything changes one of them."""
    return sum(process.cpu_s for process in processes), sum(_moved(process.outer_pid) for process in processes)


def listeners(pid: int) -> set[str]:
    """The addresses listened on in the network of this process; hexadecimal, as the kernel shows them."""
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{table}") as file:
            rows = [line.split() for line in file][1:]
            found |= {row[1] for row in rows if row[3] == _LISTENS}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/net/unix", errors="surrogateescape") as file:
        found |= set(unix_listeners(file.read()))
    return found


def datagram_ports(pid: int, *, high: bool = False) -> set[str]:
    """The addresses bound for datagrams in the network of this process, as `listeners` has them.

    Those of clients, to which the kernel gave a port, are left out, unless high: as a rule whoever is asked has a port
    that is known.
    """
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        end = 1 << 16 if high else int(file.read().split()[0])
        rows = [row for table in ("udp", "udp6") for row in _rows(pid, table)]
        return {row[1] for row in rows if row[3] == _BOUND and int(row[1].rpartition(":")[2], 16) < end}
    return set()


class Steady:
    """Tells whether any of the things that it is shown was among them each time for the last `for_s` seconds."""

    def __init__(self, for_s: float) -> None:
        self._for_s = for_s
        self._since: dict[str, float] = {}

    def __call__(self, there: Iterable[str], now_s: float) -> bool:
        self._since = {one: self._since.get(one, now_s) for one in there}
        return any(now_s - since_s >= self._for_s for since_s in self._since.values())


def _rows(pid: int, table: str) -> list[list[str]]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{table}") as file:
        return [line.split() for line in file][1:]
    return []


def unix_listeners(table: str) -> Iterator[str]:
    """The names of listening sockets in the text of /proc/net/unix; a name may hold blanks, newlines and any bytes."""
    return _unix_names(table, *_LISTENS_UNIX)


def unix_datagrams(pid: int) -> set[str]:
    """The names of unix sockets that take datagrams in the network of this process."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/net/unix", errors="surrogateescape") as file:
        return set(_unix_names(file.read(), *_TAKES_UNIX))
    return set()


def _unix_names(table: str, wanted_flags: str, wanted_type: str) -> Iterator[str]:
    head = r"^[0-9a-f]{8,16}: [0-9A-F]{8} [0-9A-F]{8} ([0-9A-F]{8}) ([0-9A-F]{4}) [0-9A-F]{2} +[0-9]+"
    parts = re.split(head, table, flags=re.MULTILINE)
    for flags, kind, name in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if wanted_flags in ("", flags) and wanted_type in ("", kind) and name.startswith(" "):
            yield name[1:].removesuffix("\n")


def ports(pid: int) -> set[tuple[str, int]]:
    """The (protocol, port) that the network of this process serves over IPv4: tcp listened on, udp bound."""
    found: set[tuple[str, int]] = set()
    for table, state in (("tcp", _LISTENS), ("tcp6", _LISTENS), ("udp", _BOUND), ("udp6", _BOUND)):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{table}") as file:
            rows = [line.split() for line in file][1:]
            places = [row[1].rpartition(":") for row in rows if row[3] == state]
            # Of IPv6 only what takes IPv4 as well: bound to no address.
            found |= {(table[:3], int(port, 16)) for host, _, port in places if len(host) == 8 or not int(host, 16)}
    return found


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
    return 0


def _moved(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/io") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(("rchar", "wchar", "syscr", "syscw")))
    return 0
