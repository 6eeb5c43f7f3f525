"""Contents are read as leaves; what cannot be read says so; the originals are never touched."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from blackstart.core.clock import ManualClock
from blackstart.probes.content import read
from blackstart.probes.sqlite import sqlite_leaves


def database(folder: Path, *statements: str, wal: bool = False) -> Path:
    path = folder / "notes.db"
    connection = sqlite3.connect(path, isolation_level=None)
    if wal:
        connection.execute("PRAGMA journal_mode=WAL")
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path


def test_json_leaves_keep_types_and_empty_containers() -> None:
    content = read(b'{"a": [1, "1", []], "b/c": null}', "x.json")
    assert content.form == "json"
    assert content.leaves == (("/a/0", "1"), ("/a/1", '"1"'), ("/a/2", "[]"), ("/b~1c", "null"))


def test_json_is_found_without_the_name() -> None:
    assert read(b'[{"a": 1}]', "data").form == "json"


def test_a_single_record_of_a_file_of_lines_is_a_line() -> None:
    for name in ("/w/tasks.jsonl", "/w/tasks.ndjson", "/w/today.log"):
        assert read(b'{"a": 1}\n', name).form == "text"
    assert read(b'{"a": 1}\n', "/w/tasks").form == "json"


def test_a_torn_json_is_a_broken_json_and_not_a_text() -> None:
    content = read(b'{"a": [1, ', "x.json")
    assert content.form == "json" and content.error and content.leaves == (("@0", b'{"a": [1, '.hex()),)


@pytest.mark.parametrize(
    ("begin", "end", "name"),
    [(b"[", b"]", "x.json"), (b"<a>", b"</a>", "x.xml")],
)
def test_deep_nesting_is_an_error_and_no_crash(begin: bytes, end: bytes, name: str) -> None:
    assert read(begin * 100_000 + end * 100_000, name).error


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.ini", b"[s]\npackages\n  more\n"),
        ("x.cfg", b"[s]\npackages\n  more\n"),
        ("x.yaml", b"a: !!int ''\n"),
        ("x.yaml", b"a: !!bool x\n"),
        ("x.yaml", b"a: !!timestamp x\n"),
    ],
)
def test_what_makes_a_parser_itself_stumble_is_unreadable_and_no_crash(name: str, data: bytes) -> None:
    content = read(data, name)
    assert content.error or content.form == "text"


@pytest.mark.parametrize(("name", "sign"), [("x.toml", "="), ("x.yaml", ":")])
def test_a_number_of_thousands_of_digits_is_a_number(name: str, sign: str) -> None:
    [(_, value)] = read(f"a {sign} 0x{'f' * 5000}\n".encode(), name).leaves
    assert value == "0x" + "f" * 5000


def test_a_set_is_the_same_in_every_process() -> None:
    one, other = ("a: !!set {" + ", ".join(names) + "}" for names in ("pqrstuvw", "wvutsrqp"))
    assert read(one.encode(), "x.yaml").leaves == read(other.encode(), "x.yaml").leaves


def test_long_names_above_many_leaves_are_not_repeated_in_full() -> None:
    content = read(b'{"%s": {"b": %s}}' % (b"k" * 100_000, b"[%s]" % b",".join([b"0"] * 40_000)), "x.json")
    assert content.count == 40_000 == len({place for place, _ in content.leaves})
    assert sum(len(place) for place, _ in content.leaves) < 10_000_000
    xml = read(b"<%s>%s</%s>" % (b"k" * 100_000, b"<a/>" * 40_000, b"k" * 100_000), "x.xml")
    assert sum(len(place) for place, _ in xml.leaves) < 10_000_000


def test_ini_toml_csv_xml_and_text() -> None:
    assert read(b"[a]\nx = 1\n", "x.cfg").leaves == (("/a/x", '"1"'),)
    assert read(b"[a]\nx = 1\n", "x.toml").leaves == (("/a/x", "1"),)
    assert read(b"a,b\n1,2\n", "x.csv").leaves[0] == ("1/1", "a")
    assert read(b"<r><i n='1'>t</i></r>", "x.xml").leaves == (("/r/1/i/1", "t"), ("/r/1/i/1/@n", "1"))
    assert read(b"one\ntwo\n", "x.txt").leaves == (("1", "one"), ("2", "two"))
    assert read(b"\x80\x00" * 10, "x").form == "bytes"


def test_xml_with_a_document_type_is_refused() -> None:
    assert "document type" in read(b'<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>', "x.xml").error


def test_a_database_is_read_with_its_write_ahead_log(tmp_path: Path) -> None:
    path = database(tmp_path, "CREATE TABLE notes (title)", wal=True)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("INSERT INTO notes VALUES ('x')")
    companions = {"-wal": Path(f"{path}-wal").read_bytes()}
    assert ("notes/1/title", "'x'") in read(path.read_bytes(), str(path), companions).leaves
    assert ("notes/1/title", "'x'") not in read(path.read_bytes(), str(path)).leaves
    writer.close()


def test_a_hot_journal_is_rolled_back_in_the_copy_only(tmp_path: Path) -> None:
    path = database(tmp_path, "CREATE TABLE notes (title)", "INSERT INTO notes VALUES ('old')")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA cache_size=1")
    writer.execute("BEGIN")
    writer.execute("UPDATE notes SET title = 'new'")
    writer.execute("PRAGMA cache_spill=1")
    writer.executemany("INSERT INTO notes VALUES (?)", [("x" * 3000,)] * 50)
    before, journal = path.read_bytes(), Path(f"{path}-journal").read_bytes()
    content = read(before, str(path), {"-journal": journal})
    assert ("notes/1/title", "'old'") in content.leaves
    assert path.read_bytes() == before and Path(f"{path}-journal").read_bytes() == journal
    writer.close()


def test_no_copy_is_left_if_the_reader_dies_while_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with closing(sqlite3.connect(tmp_path / "n.db", isolation_level=None)) as writer:
        for statement in ("PRAGMA journal_mode=WAL", "CREATE TABLE n (x)", "INSERT INTO n VALUES (1), (2)"):
            writer.execute(statement)
        log = {"-wal": (tmp_path / "n.db-wal").read_bytes()}
        leaves = sqlite_leaves((tmp_path / "n.db").read_bytes(), log)
        first = next(leaves)
        assert not list(scratch.iterdir())
        assert dict([first, *leaves])["n/2/x"] == "2"


def test_a_super_journal_named_by_a_hostile_file_is_not_touched(tmp_path: Path) -> None:
    path = database(tmp_path, "CREATE TABLE notes (title)")
    victim = tmp_path / "victim"
    victim.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
    name = str(victim).encode()
    journal = bytes((0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7)) + bytes(504)
    journal += (1).to_bytes(4, "big") + name + len(name).to_bytes(4, "big") + (sum(name)).to_bytes(4, "big")
    journal += bytes((0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7))
    for companions in ({"-journal": journal}, {"-journal": journal, "super": b""}):
        read(path.read_bytes(), str(path), companions)
        assert victim.exists()


def test_a_garbled_database_is_an_error(tmp_path: Path) -> None:
    path = database(tmp_path, "CREATE TABLE notes (title)", "INSERT INTO notes VALUES ('x')")
    data = path.read_bytes()
    assert read(data[:100], str(path)).error
    assert read(data[:4096] + b"\xff" * 4096, str(path)).error


def test_views_triggers_and_virtual_tables_are_not_run(tmp_path: Path) -> None:
    endless = "CREATE VIEW v AS WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM t) SELECT n FROM t"
    path = database(tmp_path, "CREATE TABLE notes (title)", endless)
    assert all(not place.startswith("v/") for place, _ in sqlite_leaves(path.read_bytes(), {}))


def test_a_computed_value_of_any_size_is_an_error_and_no_exhausted_memory(tmp_path: Path) -> None:
    path = database(tmp_path, "CREATE TABLE t (a, b AS (zeroblob(900000000)))", "INSERT INTO t(a) VALUES (1)")
    assert "too big" in read(path.read_bytes(), str(path)).error


def test_a_dump_that_takes_too_long_has_no_content(tmp_path: Path) -> None:
    class Late(ManualClock):
        def monotonic(self) -> float:
            self.sleep(100.0)
            return super().monotonic()

    rows = "INSERT INTO t SELECT value FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c"
    path = database(tmp_path, "CREATE TABLE t (a)", f"{rows} WHERE value < 20000) SELECT value FROM c)")
    with pytest.raises(TimeoutError):
        list(sqlite_leaves(path.read_bytes(), {}, clock=Late()))


def test_equal_databases_with_different_pages_have_equal_digests(tmp_path: Path) -> None:
    one = database(tmp_path, "CREATE TABLE notes (title)", "INSERT INTO notes VALUES ('x')")
    first = read(one.read_bytes(), str(one))
    connection = sqlite3.connect(one, isolation_level=None)
    connection.execute("INSERT INTO notes VALUES ('y')")
    connection.execute("DELETE FROM notes WHERE title = 'y'")
    connection.close()
    assert read(one.read_bytes(), str(one)).digest == first.digest
