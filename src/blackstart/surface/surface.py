"""What the target depends on, as seen in clean runs; and what could not be seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from blackstart.core.reading import Image
from blackstart.core.signals import signal_name
from blackstart.core.trace import Operation


class Surface(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """files: masked path -> role; databases: those of them that are SQLite; peers: addresses connected or sent to;
    ports: addresses listened on; programs: what was executed; signals: those sent inside; uncovered: thing -> why.
    """

    files: dict[str, str] = {}
    databases: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    uncovered: dict[str, str] = {}


def surface(
    traces: Iterable[Sequence[Operation]],
    files: Mapping[str, str],
    image: Image,
    uncovered: Mapping[str, str] | None = None,
    peers: Iterable[str] = (),
) -> Surface:
    """files: the measured roles; image: a masked image in which contents were read; peers: known to be some, such as
    those to which datagrams are sent without a connect."""
    traces = list(traces)
    seen: dict[str, dict[str, None]] = {"connect": {}, "bind": {}}
    signals: dict[str, None] = {}
    for operation in (operation for trace in traces for operation in trace):
        for start, found in seen.items():
            if operation.call.startswith(start) and operation.path:
                found[operation.path] = None
        if operation.call == "kill" and operation.flags:  # signal 0 only asks whether a process is there
            signals[signal_name(operation.flags)] = None
    databases = (p for p, s in image.items() if p in files and s.content is not None and s.content.form == "sqlite")
    return Surface(
        files=dict(sorted(files.items())),
        databases=tuple(sorted(databases)),
        peers=_sockets({**seen["connect"], **dict.fromkeys(peers)}),
        ports=_sockets(seen["bind"]),
        programs=tuple(dict.fromkeys(path for trace in traces for path in _executed(trace))),
        signals=tuple(signals),
        uncovered=dict(sorted((uncovered or {}).items())),
    )


def _executed(trace: Sequence[Operation]) -> list[str]:
    """What was executed, without what was only looked for: a thread whose next call is another execve is still at it,
    as execvp(3) is, which tries one directory of PATH after the other.
    """
    last: dict[int, Operation] = {}
    found: dict[int, str] = {}
    for operation in trace:
        before = last.get(operation.thread)
        is_exec = operation.call.startswith("execve") and bool(operation.path)
        if is_exec:
            found[operation.index] = operation.path
        if is_exec and before is not None and before.call.startswith("execve"):
            found.pop(before.index, None)
        last[operation.thread] = operation
    return list(found.values())


def _sockets(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(path.removeprefix("socket:") for path in paths if path.startswith("socket:")))
