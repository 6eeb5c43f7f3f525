"""What only the sandbox refuses is told apart from what the system refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blackstart.sandbox import probe

from .people import person

pytestmark = pytest.mark.live
HINDERED = str(Path(__file__).with_name("hindered.py"))


def test_an_ordinary_user_is_told_which_refusals_are_the_sandboxes() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to make directories of another owner")
    if not probe().namespaces:
        pytest.skip("no namespaces on this machine")
    with person("user") as somebody:
        user = somebody.work.stat().st_uid
        for name, mode, owner in (("shared", 0o777, 0), ("own", 0o755, user), ("locked", 0o755, 0)):
            (somebody.work / name).mkdir()
            (somebody.work / name / "file").touch()
            for path in (somebody.work / name / "file", somebody.work / name):
                os.chown(path, owner, owner)
                path.chmod(mode)
        ended = somebody.run(HINDERED, str(somebody.work))
    assert ended.returncode == 0, ended.stderr
    rows = dict(line.split(" ", 1) for line in ended.stdout.splitlines())
    assert rows["own"] == "True ''", ended.stderr
    assert rows["locked"] == "False ''"
    assert rows["shared"].startswith("False") and "EOVERFLOW" in rows["shared"] and "--state" in rows["shared"]
    assert "EXDEV" in rows["rename"] and rows["rename"].count("EXDEV") == 1
    assert rows["hidden"] == "True True"
