"""What lies beside cached results belongs to the cache, whose folder is made anew whole; a count or report does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, places, run

pytestmark = pytest.mark.live
HEAD = """
import json, os, time
os.makedirs("cache", exist_ok=True)
if not os.path.exists("cache/.gitignore"):
    open("cache/.gitignore", "w").write("*")
def square(n):
    place = f"cache/{n}"
    os.makedirs(place, exist_ok=True)
    if not os.path.exists(place + "/result"):
        open(place + "/result.new", "w").write(str(n * n))
        os.rename(place + "/result.new", place + "/result")
        open(place + "/made.json", "w").write(json.dumps({"at": time.time()}))
    if os.path.exists(place + "/made.json"):
        open(place + "/made.json").read()
    return int(open(place + "/result").read())
total = sum(square(n) for n in (2, 3))
"""
CACHE = "print(total)\n"
REPORT = """
open("cache/report", "w").write(f"the sum is {total}")
print(total)
"""
COUNT = """
asked = int(open("cache/asked").read()) + 1 if os.path.exists("cache/asked") else 1
open("cache/asked", "w").write(str(asked))
print(total, asked)
"""


@pytest.mark.parametrize("tail", [CACHE, COUNT, REPORT], ids=["cache", "count", "report"])
def test_what_lies_beside_cached_results(tmp_path: Path, tail: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "squares.py").write_text(HEAD + tail)
    ran = run([PYTHON, "-S", "squares.py"], work, "--only", "kill")
    hurt = " ".join(places(finding) for finding in ran.defects)
    if tail is CACHE:
        assert ran.status == 0 and not ran.defects, ran.said()
    elif tail is REPORT:
        roles = {file["path"]: file["role"] for file in ran.report["surface"]["files"]}
        assert roles["$CWD/cache/report"] == "output", ran.said()
    else:
        assert ran.status == 1 and "cache/asked" in hurt, ran.said()
        assert "made.json" not in hurt, ran.said()
