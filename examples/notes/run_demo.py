"""The demo: blackstart breaks a notebook that people really write, then the same one with a careful writer.

Both run in directories of their own beside this Python, which stay, so that a finding can be replayed there; nothing
else is touched. TinyDB is installed beside this Python if it is missing.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
BLACKSTART = Path(sys.executable).parent / "blackstart"
DEMO = Path(sys.prefix) / "demo"
NOTES = ["call the plumber", "water the tomatoes", "oil the garden door", "pay the rent", "order more seeds"]


def need_tinydb() -> None:
    if subprocess.run([sys.executable, "-c", "import tinydb"], capture_output=True, check=False).returncode != 0:
        print("Installing TinyDB …", flush=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "tinydb>=4.8,<5"], check=True)


def break_notes(script: str, title: str) -> int:
    """Run blackstart on one script; its exit status."""
    print(f"\n== {title}\n", flush=True)
    directory = DEMO / Path(script).stem
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for note in NOTES:
        add = [sys.executable, str(HERE / script), "add", note]
        subprocess.run(add, cwd=directory, check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, str(HERE / script), "add", "buy milk"]
    run = [str(BLACKSTART), "run", "--budget", "50s", "--seed", "1", "--", *command]
    began = time.monotonic()
    status = subprocess.run(run, cwd=directory, check=False).returncode
    print(f"\n({time.monotonic() - began:.0f} s, exit status {status})", flush=True)
    if status == 1:
        there, program = map(shlex.quote, (os.path.relpath(directory), os.path.relpath(BLACKSTART, directory)))
        print(f"See a finding again, by its id:  cd {there} && {program} replay ID", flush=True)
    return status


def main() -> int:
    need_tinydb()
    usual = break_notes("notes.py", "notes.py: TinyDB as its documentation shows it")
    careful = break_notes("careful_notes.py", "careful_notes.py: the same with a careful writer and reader")
    if (usual, careful) != (1, 0):
        print(f"Expected findings in the first (1) and none in the second (0), got {usual} and {careful}.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
