"""Where the state lies."""

from __future__ import annotations

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.sandbox import Layout


def test_state_directories_are_the_copies_and_those_that_hold_what_is_layered_inner_ones_first() -> None:
    layout = Layout(
        cwd="/home/me/app",
        home="/home/me",
        copies=("/home/me/app/state", "/srv/db"),
        made=("/home/me/.notes", "/home/me/big/new", "/home/me/.other"),
    )
    assert layout.directories == ("/home/me/app/state", "/srv/db", "/home/me/big", "/home/me")
    assert layout.is_layered("/home/me") and not layout.is_layered("/srv/db")


@pytest.mark.parametrize(("place", "step"), [("/dev/shm", "keep the state elsewhere"), ("/tmp", "directory inside it")])
def test_a_directory_that_cannot_be_state_is_refused_with_what_can(place: str, step: str) -> None:
    with pytest.raises(BlackstartError) as refused:
        Layout.of(cwd="/", home="/", copies=(place,))
    assert step in str(refused.value.next_step)
