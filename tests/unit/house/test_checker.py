"""The checker of the house is itself checked, on small fake trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import house, house_text


def tree_of(root: Path, files: dict[str, str]) -> house.Tree:
    """A fake tree: path below src/blackstart -> source."""
    for name, text in {"__init__.py": "", **files}.items():
        path = root / "src" / "blackstart" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return house.Tree.read(root)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from blackstart.gate import calls", "core may not import gate (it may import: nothing of the house)"),
        ("def f():\n    import blackstart.gate", "core may not import gate (it may import: nothing of the house)"),
        ("from ..gate.calls import x", "core may not import gate (it may import: nothing of the house)"),
        ("from .. import gate", "core may not import gate (it may import: nothing of the house)"),
        ("import typer", "core may not use typer"),
        ("import os, msgspec, json.decoder", ""),
        ("from blackstart import __version__", ""),
        ("from . import rule\nfrom blackstart.core import units", ""),
    ],
)
def test_imports_are_held_to_the_table(tmp_path: Path, source: str, message: str) -> None:
    tree = tree_of(tmp_path, {"core/__init__.py": "", "core/a.py": source, "gate/__init__.py": "", "gate/calls.py": ""})
    line = source.count("\n") + 1
    wanted = [f"src/blackstart/core/a.py:{line}: {message}"] if message else []
    assert house.import_violations(tree) == wanted


def test_siblings_of_the_middle_level_do_not_know_each_other(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path, {"oracles/end.py": "import blackstart.surface.roles", "surface/roles.py": "import blackstart.gate"}
    )
    assert house.import_violations(tree) == []
    tree = tree_of(tmp_path, {"surface/__init__.py": "", "gate/__init__.py": ""})
    assert [line.partition(": ")[2] for line in house.import_violations(tree)] == [
        "oracles may not import surface (it may import: core)",
        "surface may not import gate (it may import: core)",
    ]


def test_a_package_without_a_row_is_refused(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"attic/__init__.py": ""})
    assert house.import_violations(tree) == [
        "src/blackstart/attic/__init__.py:1: package attic has no row in the table of imports"
    ]


def test_judges_are_kept_pure(tmp_path: Path) -> None:
    source = (
        '"""Idea."""\nimport os\nimport socket\n'
        'os.path.join(os.fsdecode(b""))\nos.stat(open("x"))\nos.path.exists("x")\n'
    )
    tree = tree_of(tmp_path, {"oracles/end.py": source, "probes/end.py": source})
    assert sorted(house.purity_violations(tree)) == sorted(
        [
            "src/blackstart/oracles/end.py:3: oracles is pure: socket → let a probe ask",
            "src/blackstart/oracles/end.py:5: oracles is pure: os.stat → let a probe ask",
            "src/blackstart/oracles/end.py:5: oracles is pure: open → let a probe ask",
            "src/blackstart/oracles/end.py:6: oracles is pure: os.path.exists → let a probe ask",
        ]
    )


def test_a_function_is_at_most_fifty_lines(tmp_path: Path) -> None:
    good = "def f():\n" + "    x = 1\n" * 49
    tree = tree_of(tmp_path, {"core/a.py": good, "core/b.py": good + "    x = 1\n"})
    assert house.size_violations(tree) == ["src/blackstart/core/b.py:1: f has 51 lines, at most 50"]


def test_a_module_is_at_most_400_lines_or_says_why(tmp_path: Path) -> None:
    long = "x = 1\n" * 400
    reason = '"""Tables.\n\nLonger than 400\nlines, because it is one table.\n"""\n'
    tree = tree_of(tmp_path, {"core/a.py": long, "core/b.py": '"""Tables."""\n' + long, "core/c.py": reason + long})
    assert house.size_violations(tree) == [
        "src/blackstart/core/b.py:1: 401 lines; split it, or open with 'Longer than 400 lines, because ...'"
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import time\ntime.sleep(1)", "2: time.sleep → clock.sleep of blackstart.core.clock"),
        ("import time as t\nt.sleep(1)", "2: time.sleep → clock.sleep of blackstart.core.clock"),
        ("from time import sleep", "1: time.sleep → clock.sleep of blackstart.core.clock"),
        ("import random", "1: random → a source of blackstart.core.randomness"),
        ("from random import Random", "1: random.Random → a source of blackstart.core.randomness"),
        ("print(1)", "1: print → the rich console of the command line"),
        ("import os\nos.system('ls')", "2: os.system → a list of arguments, no shell"),
        ("import subprocess\nsubprocess.run('ls', shell=True)", "2: shell= → a list of arguments, no shell"),
        ("eval('1')", "1: eval → ast.literal_eval, or a parser"),
        ("import pickle", "1: pickle → msgspec; the bytes may come from a broken program"),
        ("x = 1  # TO" + "DO later", "1: TO" + "DO → do it, or write an issue"),
        ("import time\nx = time.monotonic()\nmodel.eval()\nconsole.print(1)\nrun(x, shell=False)", ""),
        ("from rich import print\nprint(1)", ""),
    ],
)
def test_banned_names_come_with_their_replacement(tmp_path: Path, source: str, message: str) -> None:
    tree = tree_of(tmp_path, {"gate/a.py": source})
    wanted = [f"src/blackstart/gate/a.py:{message}"] if message else []
    assert house.banned_violations(tree) == wanted


def test_the_wrapper_alone_may_use_what_it_wraps(tmp_path: Path) -> None:
    source = "import time\n_sleep = time.sleep\n"
    tree = tree_of(tmp_path, {"core/clock.py": source, "core/watch.py": source})
    assert [line.partition(":")[0] for line in house.banned_violations(tree)] == ["src/blackstart/core/watch.py"]


def test_no_program_is_named_even_in_a_comment(tmp_path: Path) -> None:
    source = "import sqlite3\n# as Redis does\nname = 'tinydb'\nlegit = 'digital credish'\n"
    assert house.program_violations(tree_of(tmp_path, {"core/a.py": source})) == [
        "src/blackstart/core/a.py:2: 'Redis' is a program's name; say what property of it matters",
        "src/blackstart/core/a.py:3: 'tinydb' is a program's name; say what property of it matters",
    ]


def test_public_things_need_a_docstring_and_private_or_plain_ones_none(tmp_path: Path) -> None:
    body = "x = 1\n    y = 2\n    z = 3\n    return x"
    source = (
        f'"""Idea."""\ndef long():\n    {body}\ndef short():\n    return 1\ndef _own():\n    {body}\n'
        "class Thing:\n    def work(self):\n        x = 1\n        x = 2\n        x = 3\n        return x\n"
    )
    tree = tree_of(tmp_path, {"core/a.py": source, "core/b.py": "x = 1\n"})
    assert house.docstring_violations(tree) == [
        "src/blackstart/core/a.py:2: long has no docstring",
        "src/blackstart/core/a.py:14: class Thing has no docstring",
        "src/blackstart/core/a.py:15: work has no docstring",
        "src/blackstart/core/b.py:1: a module opens with its idea",
    ]


def test_a_method_documented_by_its_protocol_needs_no_second_text(tmp_path: Path) -> None:
    protocol = '"""Idea."""\nclass Fault(Protocol):\n    """F."""\n    def inject(self): ...\n'
    fault = (
        '"""Idea."""\nclass Kill:\n    """K."""\n'
        "    def inject(self):\n        a = 1\n        a = 2\n        a = 3\n        b = 4\n"
    )
    assert house.docstring_violations(tree_of(tmp_path, {"core/a.py": protocol, "faults/b.py": fault})) == []


def test_a_module_that_nothing_reaches_is_dead(tmp_path: Path) -> None:
    files = {
        "cli/__init__.py": "def main():\n    from blackstart.campaign import run\n",
        "campaign/__init__.py": '"""Idea."""\n',
        "campaign/run.py": "HELPER = 'blackstart.sandbox.child:main'\nfrom blackstart import faults\n",
        "sandbox/child.py": "BOOT = os.path.join(HERE, 'boot.py')\n",
        "sandbox/boot.py": "x = 1\n",
        "faults/__init__.py": "import pkgutil\n",
        "faults/kill.py": "x = 1\n",
        "gate/oracle.py": '"""Idea.\n\nOnly tests use this: it checks the other.\n"""\n',
        "gate/forgotten.py": "x = 1\n",
    }
    tree = tree_of(tmp_path, files)
    dead = "nothing reaches it: use it, delete it, or open it with 'Only tests use this: why'"
    assert house.dead_modules(tree, ["blackstart.cli"]) == [f"src/blackstart/gate/forgotten.py:1: {dead}"]
    assert house.dead_modules(tree, ["blackstart.cli", "blackstart.gate.forgotten"]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Title\n\n## Part\n\n### Smaller\n\n## Part two\n", ""),
        ("Text\n", "1: a page opens with its title: # Title"),
        ("\n# Title\n", "1: a page opens with its title: # Title"),
        ("# Title\n# Another\n", "2: a page has one title; use ##"),
        ("# Title\n### Deep\n", "2: ### under #; headings go down by one"),
        ("# Title\n```sh\n# a comment\n```\n", ""),
        ("# Title\n[a](b.md)\n", "2: b.md does not exist"),
        ("# Title\n[a](page.md#title) [b](https://example.org/x) [c](#title)\n", ""),
        ("# Title\n[a](page.md#else)\n", "2: page.md has no heading for #else"),
    ],
)
def test_pages_are_held_to_their_form(tmp_path: Path, text: str, message: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert house_text.markdown_violations(tmp_path, [page]) == ([f"page.md:{message}"] if message else [])


def test_change_fragments_are_held_to_their_form(tmp_path: Path) -> None:
    (tmp_path / "changes").mkdir()
    for name in ["README.md", "2.added.md", "new-things.md", "2.addition.md"]:
        (tmp_path / "changes" / name).write_text("x")
    assert [line.partition(":")[0] for line in house_text.change_violations(tmp_path)] == [
        "changes/2.addition.md",
        "changes/new-things.md",
    ]


def test_files_are_held_to_size_mode_and_to_speak_of_no_machine(tmp_path: Path) -> None:
    machine = "/".join(["", "root", ".cache"])
    files = {"big.bin": "x" * 200_001, "script": "echo", "good.sh": "#!/bin/sh\n", "a.txt": f"ok\nsee {machine}\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for name in ["script", "good.sh"]:
        (tmp_path / name).chmod(0o755)
    assert house_text.file_violations(tmp_path, sorted(tmp_path.iterdir())) == [
        f"a.txt:2: {machine[:7]} is a path of one machine",
        "big.bin:1: 200001 bytes; a repository is no place for large files",
        "script:1: executable without a first line #!",
    ]
