"""Help answers at once, because nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from blackstart import __version__
from blackstart.core.options import KINDS

COMMANDS = ("run", "plan", "replay", "report", "doctor", "undo")


def blackstart(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "blackstart", *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | {"COLUMNS": "80"},
    )


def test_help_takes_less_than_200_ms_of_processor_time() -> None:
    """Processor time, the best of five, so that a busy machine does not matter."""
    best_s = 60.0
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert blackstart("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best_s = min(best_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert best_s < 0.2


def test_help_imports_nothing_that_works() -> None:
    code = (
        "import sys, blackstart.cli.app as a\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('rich', 'sqlite3', 'msgspec', 'asyncio')]\n"
        "bad += [m for m in sys.modules if m.startswith('blackstart.') and m.split('.')[1] not in ('cli', 'core')]\n"
        "sys.stdout.write(' '.join(bad))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_fits_80_columns(command: str) -> None:
    done = blackstart(*command.split(), "--help")
    assert done.returncode == 0 and max(map(len, done.stdout.splitlines())) <= 80
    for name in COMMANDS if not command else ():
        assert f"\n  {name} " in done.stdout


def test_no_summary_of_a_command_is_cut_off_and_every_kind_is_named() -> None:
    assert "..." not in blackstart("--help").stdout.partition("Commands:")[2]
    words = " ".join(blackstart("run", "--help").stdout.split())
    assert f"These kinds: {', '.join(KINDS)}." in words


def test_the_version_is_told() -> None:
    assert blackstart("--version").stdout == f"blackstart {__version__}\n"
