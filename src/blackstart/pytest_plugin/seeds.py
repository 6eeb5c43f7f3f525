"""One seed a session: chosen by `--blackstart-seed`, else drawn; the same in every worker; told when a test fails."""

from __future__ import annotations

import os
import shlex

import pytest

NUMBER = pytest.StashKey[int]()


def add_option(parser: pytest.Parser) -> None:
    """`--blackstart-seed N`."""
    group = parser.getgroup("blackstart", "faults inside tests")
    group.addoption(
        "--blackstart-seed",
        type=int,
        default=None,
        metavar="N",
        help="the seed of every draw of a fault; else a new one, printed where a test fails",
    )


def number(config: pytest.Config) -> int:
    """The session's seed; drawn once, and given to the workers of a distributed session by their controller."""
    if NUMBER not in config.stash:
        given = config.getoption("--blackstart-seed")
        if given is None:
            given = getattr(config, "workerinput", {}).get("blackstart_seed")
        config.stash[NUMBER] = int.from_bytes(os.urandom(4), "big") if given is None else int(given)
    return config.stash[NUMBER]


def replay_line(item: pytest.Item) -> str:
    """The command that runs this one test with the same draws."""
    return f"pytest {shlex.quote(item.nodeid)} --blackstart-seed {number(item.config)}"
