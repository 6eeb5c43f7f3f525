"""Who listens, as the kernel's table of unix sockets says it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from blackstart.targets.census import listeners, unix_datagrams, unix_listeners

HEAD = "Num       RefCount Protocol Flags    Type St Inode Path\n"
ROW = "0000000000000000: 00000002 00000000 {} 0001 01 {} {}\n"


def test_only_those_that_listen_and_have_a_name() -> None:
    rows = [ROW.format("00010000", 11, "/run/a b"), ROW.format("00010000", 12, "@c"), ROW.format("00000000", 13, "/d")]
    nameless = "0000000000000000: 00000003 00000000 00010000 0001 03 14\n"
    assert list(unix_listeners(HEAD + "".join(rows) + nameless)) == ["/run/a b", "@c"]


def test_who_takes_datagrams_at_a_unix_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as stream, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        stream.bind("stream")
        stream.listen()
        datagrams.bind("a log")
        assert {"stream", "a log"} & unix_datagrams(os.getpid()) == {"a log"}


@pytest.mark.parametrize("name", [b"plain", b"a blank", b"two\nlines", b"no UTF-8 \xff\xfe"])
def test_whatever_bytes_a_name_holds(tmp_path: Path, name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(name)
        sock.listen()
        assert os.fsdecode(name) in listeners(os.getpid())
