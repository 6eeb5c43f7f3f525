"""The logical content of an SQLite database, after the recovery that SQLite itself would do.

The database is opened in a private copy with its `-wal` and `-journal` (never `-shm`, which is rebuilt): opening it in
place would roll back, checkpoint and delete the very evidence. The copy may come from a hostile program: only tables
are read (no views, no virtual tables), extensions stay off, the schema is not trusted, and there is a limit on
time. A journal that names a super-journal would make SQLite look at, and perhaps delete, a path of the file's choice:
that name is taken out first, and what it means (committed if the super-journal is gone) decided here.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from blackstart.core.clock import SYSTEM, Clock
from blackstart.probes.structured import Unreadable

HEADER = b"SQLite format 3\x00"
COMPANIONS = ("-wal", "-journal", "-shm")
VALUE_BYTES = 16 << 20
_MAGIC = bytes((0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7))
_SKIPPED = ("sqlite_stat1", "sqlite_stat2", "sqlite_stat3", "sqlite_stat4")


def sqlite_leaves(
    data: bytes, companions: Mapping[str, bytes], *, limit_s: float = 10.0, clock: Clock = SYSTEM
) -> Iterator[tuple[str, str]]:
    """Leaves `table/row/column`, `schema/name`, `pragma/user_version`; companions by suffix, e.g. `-wal`.

    Raises Unreadable for a database that SQLite cannot read, TimeoutError past the limit.
    """
    deadline = clock.monotonic() + limit_s
    try:
        # Removed as soon as SQLite holds all of it open: a SIGKILL while it is read leaves no copy behind.
        with tempfile.TemporaryDirectory(prefix="blackstart-db-") as folder:
            copy = Path(folder, "db")
            copy.write_bytes(data)
            if companions.get("-wal"):
                Path(folder, "db-wal").write_bytes(companions["-wal"])
            journal = _without_super_journal(companions.get("-journal", b""), companions)
            if journal:
                Path(folder, "db-journal").write_bytes(journal)
            connection = sqlite3.connect(copy, timeout=0, isolation_level=None)
            try:
                _begin(connection, deadline, clock)
            except BaseException:
                connection.close()
                raise
        with closing(connection):
            yield from _leaves(connection)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise TimeoutError("reading it took too long") from None
        raise Unreadable(str(error)) from None
    except (sqlite3.Error, ValueError, OverflowError) as error:
        raise Unreadable(str(error)) from None


def _without_super_journal(journal: bytes, companions: Mapping[str, bytes]) -> bytes:
    """The journal as SQLite should use it; `super` among the companions says that the super-journal still exists."""
    if not journal.endswith(_MAGIC) or len(journal) < 20:
        return journal
    length = int.from_bytes(journal[-16:-12], "big")
    name = journal[-16 - length : -16] if 0 < length <= len(journal) - 20 else b""
    if not name or sum(name) & 0xFFFFFFFF != int.from_bytes(journal[-12:-8], "big"):
        return journal[:-8]  # not a valid name: SQLite ignores it, and so it shall
    return journal[: -20 - length] if "super" in companions else b""


def super_journal(journal: bytes) -> str:
    """The path of the super-journal that a journal names, or ``."""
    if not journal.endswith(_MAGIC) or len(journal) < 20:
        return ""
    length = int.from_bytes(journal[-16:-12], "big")
    return journal[-16 - length : -16].decode("utf-8", "surrogateescape") if 0 < length <= len(journal) - 20 else ""


def _begin(connection: sqlite3.Connection, deadline: float, clock: Clock) -> None:
    """Recover what is to be recovered, and hold what was read then until the connection is closed."""
    connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
    connection.set_progress_handler(lambda: int(clock.monotonic() > deadline), 10_000)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES)
    for setting in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "query_only=ON"):
        connection.execute(f"PRAGMA {setting}")
    connection.execute("BEGIN")
    connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def _leaves(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    tables = []
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
    for kind, name, sql in rows:
        if sql is not None:
            yield f"schema/{_quoted(name)}", " ".join(str(sql).split())
        if kind == "table" and name not in _SKIPPED and not str(sql).upper().startswith("CREATE VIRTUAL"):
            tables.append(str(name))
    yield "pragma/user_version", str(connection.execute("PRAGMA user_version").fetchone()[0])
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise Unreadable(f"SQLite's own check says: {problem}")
    for table in tables:
        name = table.replace('"', '""')
        cursor = connection.execute(f'SELECT * FROM "{name}"')
        columns = [_quoted(column[0]) for column in cursor.description]
        for number, row in enumerate(cursor, 1):
            for column, value in zip(columns, row, strict=True):
                yield f"{_quoted(table)}/{number}/{column}", _value(value)


def _quoted(name: object) -> str:
    return str(name).replace("/", "~1")


def _value(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
