"""Which isolation a machine gets, from what was tried on it."""

from __future__ import annotations

import pytest

from blackstart.core.errors import SandboxUnavailable
from blackstart.sandbox.machine import Ability, Machine, choose

NAMES = ("user namespace", "overlay", "pid namespace", "network namespace", "other namespaces")


def machine(**refused: str) -> Machine:
    names = (*NAMES, "listener")
    abilities = tuple(Ability(name=name, available=name not in refused, detail=refused.get(name, "")) for name in names)
    return Machine(kernel="6.18", architecture="x86_64", user=0, abilities=abilities, landlock_abi=6)


def test_the_stronger_isolation_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLACKSTART_ISOLATION", raising=False)
    assert choose(machine()) == "namespaces"
    assert choose(machine(overlay="no")) == "landlock"


def test_without_a_listener_there_is_no_run_in_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLACKSTART_ISOLATION", raising=False)
    with pytest.raises(SandboxUnavailable, match="not implemented") as caught:
        choose(machine(listener="not implemented (seccomp)"))
    assert caught.value.exit_status == 3 and caught.value.next_step
