"""The plugin as a suite sees it: its seed, its replay line, discovery, and nothing where it is not used.

covers: R-32, R-33
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.inprocess.faulty import flip_bit
from blackstart.pytest_plugin.discovery import _is_gap


def run(tmp_path: Path, test: str, *options: str) -> str:
    """What pytest prints about this test file; a session of its own, as a user starts it."""
    (tmp_path / "test_it.py").write_text("import pytest\nfrom blackstart.core.errors import BlackstartError\n" + test)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        "-rxX",
        "--strict-markers",
        *options,
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    return done.stdout + done.stderr


DRAW = "def test_draw(blackstart_seed):\n    assert 0, blackstart_seed.source('x').random()\n"


def test_a_failure_gives_the_line_that_draws_the_same(tmp_path: Path) -> None:
    first = run(tmp_path, DRAW)
    (replay,) = re.findall(r"^replay: pytest test_it.py::test_draw (--blackstart-seed \d+)$", first, re.MULTILINE)
    drawn = re.findall(r"^E +AssertionError: (0\.\d+)$", first, re.MULTILINE)
    assert drawn
    assert re.findall(r"^E +AssertionError: (0\.\d+)$", run(tmp_path, DRAW, *replay.split()), re.MULTILINE) == drawn


def test_workers_share_the_seed(tmp_path: Path) -> None:
    test = "@pytest.mark.resilience\n@pytest.mark.parametrize('n', range(4))\ndef test_draw(n):\n    assert 0\n"
    shown = run(tmp_path, test, "-n", "2")
    assert len(re.findall(r"^replay: ", shown, re.MULTILINE)) == 4
    assert len(set(re.findall(r"--blackstart-seed (\d+)", shown))) == 1


def test_a_test_of_others_is_left_alone(tmp_path: Path) -> None:
    """covers: R-33"""
    shown = run(tmp_path, "def test_other():\n    assert 0\n")
    assert "1 failed" in shown
    assert "blackstart" not in shown.replace("blackstart.core.errors", "").partition("FAILURES")[2]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_discovery_makes_each_failure_a_gap_with_what_happened(tmp_path: Path, workers: tuple[str, ...]) -> None:
    """covers: R-32"""
    test = (
        "@pytest.mark.resilience(scenario='R-13')\ndef test_loads():\n    raise ValueError('no JSON')\n"
        "@pytest.mark.resilience(scenario='R-12')\ndef test_saves():\n    pass\n"
    )
    shown = run(tmp_path, test, "--blackstart-discover", *workers)
    assert "1 survived, 1 known gap, 0 failed" in shown
    assert "gap  R-13  test_it.py::test_loads: ValueError: no JSON" in shown
    assert "1 passed, 1 xfailed" in shown
    assert "1 failed, 1 passed" in run(tmp_path, test, *workers)


def test_a_known_gap_is_xfail_with_its_reason_and_fails_once_it_is_closed(tmp_path: Path) -> None:
    """covers: R-32"""
    test = (
        "@pytest.mark.resilience(scenario='R-1', gap='not atomic')\ndef test_open():\n    assert 0\n"
        "@pytest.mark.resilience(scenario='R-2', gap='no retry')\ndef test_closed():\n    pass\n"
    )
    shown = run(tmp_path, test)
    assert "gap  R-1  test_it.py::test_open: not atomic" in shown
    assert "survives what was a gap (no retry): take gap= out of the marker" in shown
    assert "1 failed, 1 xfailed" in shown


def test_a_mistake_of_the_test_is_never_a_gap(tmp_path: Path) -> None:
    test = "@pytest.mark.resilience(scenario='R-1', gap='x')\ndef test_it():\n    raise BlackstartError('bad rule')\n"
    assert "1 failed" in run(tmp_path, test, "--blackstart-discover")


@pytest.mark.parametrize(
    ("fixture", "misuse"),
    [
        ("sweep", "next(sweep('a', call='os.fsync'))"),
        ("failpoints", "failpoints.storm(activate=7)"),
        ("failpoints", "failpoints.arm('a', 3)"),
        ("failpoints", "failpoints.arm('a', 'off', unknown=1)"),
        ("failpoints", "failpoints.at_gofail('nowhere', 'a', 'off')"),
        ("faulty", "faulty(['text'], {'pop': 'return'}, spoil=flip_bit).pop()"),
        ("limits", "limits().__enter__()"),
        ("link", "link('nowhere')"),
        ("proxy", "proxy('127.0.0.1:99999')"),
    ],
)  # fmt: skip
def test_a_fixture_that_is_misused_is_never_a_gap(
    fixture: str, misuse: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises((BlackstartError, TypeError)) as caught:
        eval(misuse, {fixture: request.getfixturevalue(fixture), "flip_bit": flip_bit})
    assert not _is_gap(SimpleNamespace(excinfo=caught))  # type: ignore[arg-type]


def test_tests_with_the_marker_run_alone_or_with_all_others(tmp_path: Path) -> None:
    """covers: R-33"""
    test = "@pytest.mark.resilience\ndef test_ours(tmp_path):\n    pass\ndef test_other():\n    pass\n"
    assert "1 passed, 1 deselected" in run(tmp_path, test, "-m", "resilience")
    assert "2 passed" in run(tmp_path, test)


@pytest.mark.parametrize(
    ("arguments", "said"), [("senario='R-1'", "no argument 'senario'"), ("'R-1'", "its arguments have names")]
)
def test_a_marker_with_wrong_arguments_fails_its_test_and_no_other(tmp_path: Path, arguments: str, said: str) -> None:
    test = f"@pytest.mark.resilience({arguments})\ndef test_it():\n    pass\ndef test_after():\n    pass\n"
    shown = run(tmp_path, test)
    assert f"marker resilience: {said}; write" in shown
    assert "1 failed, 1 passed" in shown and "INTERNALERROR" not in shown


def test_a_rule_that_never_fired_is_no_survival(tmp_path: Path) -> None:
    """covers: R-32"""
    test = (
        "def work():\n    # failpoint: worked\n    return 1\n"
        "@pytest.mark.resilience(scenario='R-1')\ndef test_it(failpoints):\n"
        "    failpoints.arm('worked', 'raise(OSError: EIO)')\n"
    )
    shown = run(tmp_path, test, "--blackstart-discover")
    assert "0 survived, 0 known gaps, 1 failed" in shown and "never fired" in shown


def test_a_mistake_is_shown_at_the_line_of_the_test_without_the_frames_behind_it(tmp_path: Path) -> None:
    test = (
        "def work():\n    # failpoint: worked\n    return 1\n"
        "def test_rule(failpoints):\n    failpoints.arm('worked', 'rase')\n"
        "def test_fired(failpoints):\n    failpoints.arm('worked', 'off')\n    raise KeyError('ours')\n"
        "def test_never(failpoints):\n    failpoints.arm('worked', '@3 raise(OSError: EIO)')\n"
    )
    shown = run(tmp_path, test, "-o", "addopts=")
    assert "test_it.py:7: RuleError" in shown and "no verb 'rase'" in shown and "KeyError" in shown
    assert "blackstart/inprocess" not in shown and "contextlib.py" not in shown
    assert "NeverFired: the rule '@3 raise(OSError: EIO)' at worked never fired\n  next:" in shown
    assert "blackstart/core/rule.py" in run(tmp_path, test, "--full-trace")


def test_loading_the_plugin_loads_nothing_that_breaks_things() -> None:
    code = (
        "import pytest, sys; before = set(sys.modules); import blackstart.pytest_plugin.plugin as plugin\n"
        "import importlib\n"
        "[importlib.import_module(name) for name in plugin.MODULES]\n"
        "ours = sorted(m for m in set(sys.modules) - before if m.startswith('blackstart.'))\n"
        "sys.exit(str([m for m in ours if not m.startswith('blackstart.pytest_plugin')] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500, check=False)
    assert done.stderr.strip() == ""
