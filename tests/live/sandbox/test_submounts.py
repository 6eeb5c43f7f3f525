"""Directories with mounts below them are shown whole, and nothing done there leaves the sandbox."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blackstart.sandbox import probe

from .people import person

pytestmark = pytest.mark.live
GROWN = """
import os, sys
from blackstart.sandbox import Layout, Zygote
work = sys.argv[1]
layout = Layout.of(cwd=work, home=work)
with Zygote(layout) as first:
    first.capture("a")
    first.write("a", f"{work}/mid/file", b"of the first")
    os.mkdir(f"{work}/anew")
    with Zygote(layout, plan=first.plan) as second:
        second.adopt("b", first.root("a"))
        print([(change.path, change.change) for change in second.changes("b")])
"""
SUBMOUNTED = str(Path(__file__).with_name("submounted.py"))


def test_what_lies_on_mounts_is_shown_and_contained() -> None:
    if not probe().namespaces:
        pytest.skip("no namespaces on this machine")
    with person("user") as somebody:
        for path in (somebody.work / "state", somebody.work / "disk", somebody.work / "disk/inner"):
            path.mkdir()
            os.chown(path, *[somebody.work.stat().st_uid] * 2)
        script = f'mount -t tmpfs inner {somebody.work}/disk/inner && exec "$@"'
        inner = [somebody.python, SUBMOUNTED, str(somebody.work)]
        ended = subprocess.run(
            somebody.command(["unshare", "-Urm", "sh", "-c", script, "sh", *inner]),
            env=somebody.environment(), cwd=somebody.work, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    said, changed, troubles, host = ended.stdout.splitlines()
    assert ast.literal_eval(said) == "beforesmallafter oddllllarge refused cut".split()
    assert ast.literal_eval(changed) == [
        "/disk/inner/deep/file", "/disk/inner/deep/new", "/disk/odd, name:\\x/file", "/disk/plain",
    ]  # fmt: skip
    assert troubles == "True ''"
    assert host == "before ['file', 'socket'] small"


def test_a_directory_that_comes_up_on_the_machine_meanwhile_moves_nothing_of_an_image_that_is_adopted(
    tmp_path: Path,
) -> None:
    if not probe().namespaces:
        pytest.skip("no namespaces on this machine")
    for name in ("disk", "mid"):  # beside a mount every directory is a layer of its own
        (tmp_path / name).mkdir(parents=True)
    script = f'mount -t tmpfs disk {tmp_path}/disk && exec "$@"'
    ended = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", sys.executable, "-c", GROWN, str(tmp_path)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ast.literal_eval(ended.stdout) == [(f"{tmp_path}/mid/file", "created")]
