"""A store of segments that merges them: who removes the old ones before the new one is there loses what they held."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, run

pytestmark = pytest.mark.live
STORE = """
import os
def put(number, lines):
    with open(f"{number}.tmp", "w") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{number}.tmp", f"{number}.seg")
    os.sync()
there = sorted(int(name[:-4]) for name in os.listdir() if name.endswith(".seg"))
kept = dict.fromkeys(line for number in there for line in open(f"{number}.seg"))
last = max(there, default=0)
put(last + 1, [f"key{len(kept) + 1}=value\\n"])
kept[f"key{len(kept) + 1}=value\\n"] = None
old = [*there, last + 1]
def remove():
    for number in old:
        os.unlink(f"{number}.seg")
if len(old) > 2:
    {merge}
print("stored", len(kept))
"""
CARELESS = "remove(); put(last + 2, kept)"
CAREFUL = "put(last + 2, kept); remove()"


@pytest.mark.parametrize("merge", [CARELESS, CAREFUL], ids=["careless", "careful"])
def test_what_a_merged_segment_held_stands_somewhere(tmp_path: Path, merge: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "store.py").write_text(STORE.replace("{merge}", merge))
    for number in (1, 2):
        (work / f"{number}.seg").write_text(f"key{number}=value\n")
    ran = run([PYTHON, "-S", "store.py"], work, "--only", "kill")
    assert {one["consequence"] for one in ran.defects} == ({"lost"} if merge is CARELESS else set()), ran.said()
    for defect in ran.defects:
        assert any("=value` any more" in text for text in defect["evidence"]), ran.said()
