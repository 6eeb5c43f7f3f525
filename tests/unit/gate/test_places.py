"""Names and kinds of what calls refer to, from bytes of a hostile target."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.trace import DIRECTORY, FILE, OTHER, PIPE, TTY, Operation
from blackstart.gate.calls import CALLS
from blackstart.gate.places import Places, _Change, change_by, kind_of_path, socket_name, stream_names
from blackstart.gate.tasks import Tasks, Thread


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (b"", "socket:"),
        (b"\x01", "socket:"),
        (struct.pack("=H", 1) + b"/run/x.sock\0junk", "socket:unix:/run/x.sock"),
        (struct.pack("=H", 1), "socket:unix:"),
        (struct.pack("=H", 1) + b"\0abstract\0x", "socket:unix:@abstract\0x"),
        (struct.pack("=H", 1) + b"\xff\xfe", "socket:unix:\udcff\udcfe"),
        (struct.pack("=H", 2) + struct.pack(">H", 80) + bytes((1, 2, 3, 4)), "socket:inet:1.2.3.4:80"),
        (struct.pack("=H", 2) + b"\0", "socket:family2"),
        (struct.pack("=H", 10) + struct.pack(">H", 443) + bytes(19) + b"\x01", "socket:inet6:[::1]:443"),
        (struct.pack("=H", 16) + bytes(10), "socket:netlink"),
        (struct.pack("=H", 77), "socket:family77"),
    ],
)
def test_names_of_addresses(address: bytes, name: str) -> None:
    assert socket_name(address) == name


@given(st.binary(max_size=140))
def test_any_bytes_have_a_name(address: bytes) -> None:
    assert socket_name(address).startswith("socket:")


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/a/b", FILE), ("/dev/null", OTHER), ("/dev/tty", TTY), ("/dev/pts/3", TTY), ("/dev/shm/x", FILE),
     ("/proc/self/maps", OTHER), ("/sys/x", OTHER), ("/process", FILE)],
)  # fmt: skip
def test_kinds_by_place(path: str, kind: str) -> None:
    assert kind_of_path(path) == kind


@pytest.fixture
def me() -> Thread:
    return Tasks().thread(os.getpid())


def test_own_descriptors_have_paths_and_kinds(me: Thread, tmp_path: Path) -> None:
    places = Places(streams={}, keep=False)
    read_end, write_end = os.pipe()
    opened = [
        (os.open(tmp_path / "f", os.O_CREAT | os.O_RDWR), str(tmp_path / "f"), FILE),
        (os.open(tmp_path, os.O_RDONLY), str(tmp_path), DIRECTORY),
        (os.open("/dev/null", os.O_RDONLY), "/dev/null", OTHER),
        (read_end, "pipe:", PIPE),
        (write_end, "pipe:", PIPE),
    ]
    for descriptor, path, kind in opened:
        assert places.descriptor(me, descriptor) == (path, kind)
    for descriptor, _, _ in opened:
        os.close(descriptor)
    assert places.descriptor(me, read_end) == ("", OTHER)
    assert places.descriptor(me, -1) == ("", OTHER)


def test_streams_are_named_by_their_pipes(me: Thread) -> None:
    (in_r, in_w), (out_r, out_w) = os.pipe(), os.pipe()
    places = Places(streams=stream_names(in_r, out_w, out_w), keep=False)
    assert places.descriptor(me, in_r) == ("stdin", PIPE)
    # One pipe for both: the first of the three names it.
    assert places.descriptor(me, out_w)[0] == "stdout"
    for descriptor in (in_r, in_w, out_r, out_w):
        os.close(descriptor)


def test_what_is_kept_is_forgotten_when_it_may_change(me: Thread, tmp_path: Path) -> None:
    places = Places(streams={}, keep=True)
    number = os.open(tmp_path / "one", os.O_CREAT | os.O_RDWR)
    assert places.descriptor(me, number)[0].endswith("/one")
    os.rename(tmp_path / "one", tmp_path / "two")

    def name() -> str:
        return os.path.basename(places.descriptor(me, number)[0])

    def about_to(call: str, path: Path | None = None, *arguments: int) -> _Change:
        event = (0,) * 6 + arguments
        operation = Operation(index=0, call=call, path=os.path.realpath(path)) if path else None
        return change_by(CALLS[call], me.process, event, operation)

    assert name() == "one", "it is kept"
    places.changes(me.tid, 1.0, about_to("rename", tmp_path / "one"))
    assert name() == "two"
    os.rename(tmp_path / "two", tmp_path / "three")
    assert name() == "three", "nothing new is kept until the thread is seen again"
    places.seen(me.tid + 1, 1.01)
    os.rename(tmp_path / "three", tmp_path / "four")
    assert name() == "four"
    places.seen(me.tid, 1.02)
    assert name() == "four" and not places.pending
    for change in (
        about_to("rename", tmp_path / "other"), about_to("rename", tmp_path / "fo"),
        about_to("close", None, number + 1), about_to("dup2", None, number, number + 1), about_to("chdir", tmp_path),
    ):  # fmt: skip
        os.rename(tmp_path / "four", tmp_path / "five")
        places.changes(me.tid, 2.0, change)
        assert name() == "four", "what cannot be meant is kept"
        os.rename(tmp_path / "five", tmp_path / "four")
        places.seen(me.tid, 2.01)
    for change in (
        about_to("unlink", tmp_path / "four"), about_to("rename", tmp_path), about_to("close", None, number),
        about_to("dup2", None, 1, number), about_to("close_range", None, 3, 9), about_to("execve"), about_to("rename"),
    ):  # fmt: skip
        os.rename(tmp_path / "four", tmp_path / "five")
        places.changes(me.tid, 3.0, change)
        assert name() == "five", change
        os.rename(tmp_path / "five", tmp_path / "four")
        places.seen(me.tid, 3.01)
        assert name() == "four"
    places.changes(99, 4.0, about_to("rename"))
    assert name() == "four"
    places.seen(me.tid, 4.1)
    assert name() == "four"
    os.rename(tmp_path / "four", tmp_path / "five")
    assert name() == "four", "a thread that never comes back does not matter for long"
    places.seen(99, 5.0)
    assert name() == "five", "but when it does, what it changed is forgotten once more"
    os.close(number)


def test_paths_are_those_of_the_target(me: Thread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "away").symlink_to("/etc")
    monkeypatch.chdir(tmp_path)
    places = Places(streams={}, keep=True)
    base = os.path.realpath(tmp_path)
    for raw, path in (
        (b"x", f"{base}/x"),
        (b"./a//b/../c", f"{base}/a/c"),
        (b"link/x", f"{base}/real/x"),
        (b"away/hostname", "/etc/hostname"),
        (b"real/", f"{base}/real"),
        (b"/", "/"),
        (b"//etc//hostname", "/etc/hostname"),
        (b"none/such/file", f"{base}/none/such/file"),
        (b"\xff\xfe", f"{base}/\udcff\udcfe"),
        (b"", ""),
    ):
        assert places.path(me, -100, raw) == path, raw
    directory = os.open("real", os.O_RDONLY)
    assert places.path(me, directory, b"y") == f"{base}/real/y"
    os.unlink("link")
    os.symlink("/etc", "link")
    assert places.path(me, -100, b"link/x") == f"{base}/real/x", "it is kept"
    places.moves(f"{base}/link")
    assert places.path(me, -100, b"link/x") == "/etc/x"
    os.close(directory)


@given(st.binary(min_size=1, max_size=300).filter(lambda raw: b"\0" not in raw))
def test_any_path_is_absolute_or_empty(raw: bytes) -> None:
    path = Places(streams={}, keep=True).path(Tasks().thread(os.getpid()), -100, raw)
    assert path.startswith("/") and "//" not in path and "/../" not in path
