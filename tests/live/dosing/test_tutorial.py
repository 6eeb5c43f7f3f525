"""The tutorial does what it shows: its test, its fixes and its output, in the order of the page.

covers: R-32
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[3]
# Blocks that do something, in the order of the page; typed commands other than pytest are for people.
BLOCK = re.compile(r"^```(python|diff|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def without_times(text: str) -> str:
    return re.sub(r" in [0-9.]+s", "", text).strip()


@pytest.mark.needs("git")
def test_the_tutorial_can_be_followed(tmp_path: Path) -> None:
    pytest.importorskip("pymodbus", reason="needs the extra `examples`")
    place = tmp_path / "dosing"
    shutil.copytree(ROOT / "examples" / "dosing", place, ignore=shutil.ignore_patterns("__pycache__"))
    # As on a terminal of the usual width, in a directory that belongs to no repository.
    environment = os.environ | {"COLUMNS": "80", "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    compared = 0
    for kind, text in BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")):
        command, _, shown = text.partition("\n")
        if kind == "python":
            (place / "test_dosing.py").write_text(text)
        elif kind == "diff":
            subprocess.run(["git", "apply", "-p0", "-"], input=text, text=True, cwd=place, env=environment, check=True)
        elif command.startswith("$ pytest "):
            words = [sys.executable, "-m", "pytest", *command.split()[2:]]
            done = subprocess.run(
                words, cwd=place, env=environment, capture_output=True, text=True, timeout=500, check=False
            )
            assert without_times(done.stdout) == without_times(shown), done.stderr
            compared += 1
    assert compared == 3
