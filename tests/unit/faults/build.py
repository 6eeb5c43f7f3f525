"""Clean runs made by hand, to choose candidates from: a job that rewrites notes.json through a temporary file."""

from __future__ import annotations

from typing import Any

from blackstart.core.calibration import Calibration, CleanRun, Mask
from blackstart.core.reading import Content, FileState
from blackstart.core.trace import Operation

NOTES, TEMPORARY, CONFIG, LIBRARY = "$CWD/notes.json", "$CWD/notes.tmp", "$CWD/app.ini", "/usr/lib/x.so"
READ, CREATE, EXCLUSIVE, TRUNCATE = 0, 0o101, 0o301, 0o1001
ROLES = {NOTES: "state", TEMPORARY: "scratch", CONFIG: "config", LIBRARY: "install"}


def trace(*rows: tuple[Any, ...]) -> tuple[Operation, ...]:
    """Operations from (call, masked path, more fields); index, count, kind and descriptor are filled in."""
    counts: dict[tuple[str, str], int] = {}
    operations = []
    for index, (call, masked, *rest) in enumerate(rows):
        fields: dict[str, Any] = dict(rest[0]) if rest else {}
        counts[call, masked] = counts.get((call, masked), 0) + 1
        on_descriptor = call in ("read", "write", "pwrite64", "fsync", "close", "ftruncate")
        given: dict[str, Any] = {
            "kind": "pipe" if masked == "stdout" else "file" if masked else "other",
            "fd": 3 if on_descriptor else -1,
            "path": masked.replace("$CWD", "/w"),
            **fields,
        }
        operations.append(Operation(index=index, call=call, masked=masked, nth=counts[call, masked], **given))
    return tuple(operations)


def atomic_rewrite(size: int = 100) -> tuple[Operation, ...]:
    """Read the configuration and the notes, write a temporary file, rename it, say so."""
    return trace(
        ("openat", LIBRARY, {"flags": READ}),
        ("close", LIBRARY),
        ("openat", CONFIG, {"flags": READ}),
        ("read", CONFIG, {"size": 4096}),
        ("close", CONFIG),
        ("openat", NOTES, {"flags": READ}),
        ("read", NOTES, {"size": 4096}),
        ("close", NOTES),
        ("openat", TEMPORARY, {"flags": CREATE}),
        ("write", TEMPORARY, {"size": size}),
        ("write", TEMPORARY, {"size": size}),
        ("fsync", TEMPORARY),
        ("close", TEMPORARY),
        ("rename", TEMPORARY, {"path2": "/w/notes.json"}),
        ("write", "stdout", {"size": 6, "fd": 1}),
        ("exit_group", ""),
    )


def file(size: int = 200, mode: int = 0o644, form: str = "text") -> FileState:
    return FileState(path="", size=size, mode=mode, digest=f"d{size}", content=Content(form=form))


def clean(
    operations: tuple[Operation, ...],
    versions: dict[str, tuple[FileState | None, ...]] | None = None,
    start: str = "S1",
) -> CleanRun:
    if versions is None:
        versions = {NOTES: (file(), file(210)), CONFIG: (file(20),)}
    return CleanRun(start=start, code=0, elapsed_s=0.1, trace=operations, versions=versions)


def calibration(roles: dict[str, str] | None = None, *runs: CleanRun) -> Calibration:
    return Calibration(
        mask=Mask(names=(("^/w(?=/|$)", "$CWD"),)), roles=ROLES if roles is None else roles, chain=tuple(runs)
    )
