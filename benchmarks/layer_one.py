"""What a test with a fault costs beyond a bare one: a hundred of each, in one session after the other.

    chrt -r 10 python benchmarks/layer_one.py [--tests 100] [--rounds 3]

Bound: 10 ms a test. The bare test opens and reads a file, as the others do; best of several rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHOP = "def put(path):\n    # failpoint: bench-put\n    return path.read_text()\n"
HEAD = "import sqlite3, pytest, shop\n@pytest.mark.parametrize('n', range({n}))\n"
TESTS = {
    "bare": (
        "def test_it(n, tmp_path):\n    (tmp_path / 'f').write_text('x')\n"
        "    assert shop.put(tmp_path / 'f') == 'x'\n"
    ),
    "failpoints": (
        "def test_it(n, tmp_path, failpoints):\n    (tmp_path / 'f').write_text('x')\n"
        "    failpoints.arm('bench-put', '@1 raise(OSError: EIO)')\n"
        "    with pytest.raises(OSError):\n        shop.put(tmp_path / 'f')\n"
    ),
    "files": (
        "def test_it(n, tmp_path, files):\n    (tmp_path / 'f').write_text('x')\n"
        "    with files.empty(tmp_path / 'f'):\n        assert shop.put(tmp_path / 'f') == ''\n"
    ),
    "faulty": (
        "def test_it(n, tmp_path, faulty):\n    (tmp_path / 'f').write_text('x')\n"
        "    path = faulty(tmp_path / 'f', {'read_text': 'raise(OSError: EIO)'})\n"
        "    with pytest.raises(OSError):\n        shop.put(path)\n"
    ),
    "link": (
        "def test_it(n, tmp_path, link):\n    (tmp_path / 'f').write_text('x')\n"
        "    with link('127.0.0.1:9').refused():\n        assert shop.put(tmp_path / 'f') == 'x'\n"
    ),
}


def session_s(place: Path, name: str) -> float:
    """Seconds of a whole session with these tests alone."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_{name}.py"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tests", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    best = dict.fromkeys(TESTS, float("inf"))
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "shop.py").write_text(SHOP)
        for name, text in TESTS.items():
            (place / f"test_{name}.py").write_text(HEAD.format(n=chosen.tests) + text)
        for _ in range(chosen.rounds):
            for name in TESTS:
                best[name] = min(best[name], session_s(place, name))
    for name, seconds in best.items():
        beyond = (seconds - best["bare"]) / chosen.tests * 1e3
        print(f"{name:12} {seconds / chosen.tests * 1e3:6.1f} ms a test, {beyond:+5.1f} ms beyond the bare one")


if __name__ == "__main__":
    main()
