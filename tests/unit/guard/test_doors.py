"""Doors are opened by name only, and what cannot be opened says what to do instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.guard import Allowed, doors, opened_paths, parse_allowed


class Layout:
    copies = ("/srv/state",)
    made = ("/home/me/.app",)
    overlays = ("/srv",)


def test_a_path_is_allowed_as_it_really_is(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to("real")
    assert parse_allowed(f"socket:{tmp_path}/link") == Allowed(kind="socket", address=str(tmp_path / "real"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("socket", "names no door"),
        ("socket:", "names no door"),
        ("file:/etc", "names no door"),
        ("socket:relative", "no full path"),
        ("device:/no/such/thing", "there is no"),
        ("peer:host", "names no peer"),
        ("peer:host:99999", "names no peer"),
    ],
)
def test_what_cannot_be_opened_says_why(text: str, message: str) -> None:
    with pytest.raises(BlackstartError, match=message) as caught:
        parse_allowed(text)
    assert caught.value.next_step


def test_a_peer_is_allowed_as_it_is_named_and_is_no_path() -> None:
    opened = [parse_allowed(text) for text in ("peer:db.example:5432", "peer:[::1]:80", "device:/dev/null")]
    assert [one.address for one in opened] == ["db.example:5432", "[::1]:80", "/dev/null"]
    assert opened_paths(opened) == ("/dev/null",)


@pytest.mark.parametrize("isolation", ["namespaces", "landlock"])
def test_every_door_has_a_state_and_opened_ones_come_last(isolation: str) -> None:
    listed = doors(Layout(), isolation, [Allowed(kind="socket", address="/run/x")])
    assert {d.state for d in listed} <= {"contained", "refused", "opened"}
    assert listed[-1].address == "/run/x"
    assert {"files", "devices", "unix sockets", "network", "processes"} <= {d.kind for d in listed}
