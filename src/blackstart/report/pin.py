"""A finding as a test of the project's own suite: ten lines that replay the trial, and the trial as data beside them.

The test is red while the program still fails and green once it is repaired; where the replay cannot decide, it is red
and says so, because a test that proves nothing must not look like one that does. The names begin as all resilience
tests do (`test_resilience_`, `TestResilience_`), so that they can be chosen by that prefix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from blackstart.core.options import Options
from blackstart.report.model import Finding, Report
from blackstart.report.text import plain

# Options that mean nothing in another place.
_LOCAL = ("command", "cwd", "json", "baseline", "scenarios")
PACKAGE = "resilience"

_PYTEST = '''"""{story}

Written by `blackstart pin`; the trial itself stands in {data}.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def {name}() -> None:
    pinned = str(HERE / {file}) + "#{identity}"
    command = [sys.executable, "-m", "blackstart", "replay", pinned, "--cwd", str(HERE / {cwd})]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
'''
_GO = """// {story}
//
// Written by `blackstart pin`; the trial itself stands in {data}.
// Run with -count=1: `go test` does not see that a program which it starts has changed, and would repeat an old "ok".

package {package}

import (
\t"os/exec"
\t"path/filepath"
\t"testing"
)

func {name}(t *testing.T) {{
\tpinned, err := filepath.Abs({file})
\tif err != nil {{
\t\tt.Fatal(err)
\t}}
\tcommand := exec.Command("blackstart", "replay", pinned+"#{identity}", "--cwd", {cwd})
\tif told, err := command.CombinedOutput(); err != nil {{
\t\tt.Fatalf("%v\\n%s", err, told)
\t}}
}}
"""


def pinned_report(finding: Mapping[str, Any], options: Options) -> Report:
    """A report with this finding alone, to be replayed from any clone; raises msgspec.ValidationError."""
    settings = {name: value for name, value in msgspec.to_builtins(options).items() if name not in _LOCAL}
    return Report(
        command=options.command, seed=options.seed, options=settings, findings=(msgspec.convert(finding, Finding),)
    )


def pytest_test(finding: Finding, data: str, cwd: str) -> tuple[str, str]:
    """File name and text; data: the name of the report beside it; cwd: from there to where the program starts."""
    words = _words(finding)
    name = "test_resilience_" + "_".join(words).lower()
    text = _PYTEST.format(
        story=_story(finding).replace("\\", "\\\\").replace('"', "'"),
        name=name,
        data=data,
        identity=finding.id,
        file=_python(data),
        cwd=_python(cwd),
    )
    return f"{name}.py", text


def go_test(finding: Finding, data: str, cwd: str, package: str) -> tuple[str, str]:
    """File name and text, in this package."""
    words = _words(finding)
    name = "TestResilience_" + "_".join(word[:1].upper() + word[1:] for word in words)
    text = _GO.format(
        story=_story(finding),
        name=name,
        data=data,
        identity=finding.id,
        file=json.dumps(data),
        cwd=json.dumps(cwd),
        package=package,
    )
    return "resilience_" + "_".join(words).lower() + "_test.go", text


def _words(finding: Finding) -> list[str]:
    """Kind, consequence and the mark of the cause, as parts of a name."""
    parts = (finding.kind, finding.id)
    return [word for part in parts for word in re.split(r"[^A-Za-z0-9]+", part) if word]


def _story(finding: Finding) -> str:
    return plain(f"{finding.consequence}: {finding.fault}.", 100)


def _python(text: str) -> str:
    return json.dumps(text)
