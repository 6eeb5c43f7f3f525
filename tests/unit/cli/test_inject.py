"""`blackstart inject`: what a path that was typed means."""

from __future__ import annotations

import pytest

from blackstart.cli.inject import masked


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("*", "*"),
        ("data/x.db", "$CWD/data/x.db"),
        ("./x|*.log", "$CWD/x|*.log"),
        (".", "$CWD"),
        ("/srv/app/x*", "$CWD/x*"),
        ("/srv/apple", "/srv/apple"),
        ("/etc/hosts", "/etc/hosts"),
        ("$CWD/x", "$CWD/x"),
        ("socket:*", "socket:*"),
        ("stdout", "stdout"),
    ],
)
def test_relative_paths_are_below_the_directory(typed: str, means: str) -> None:
    assert masked(typed, "/srv/app") == means
