"""The house rules for what is not Python source: Markdown, change fragments, permissions, sizes.

Beside tests/house.py, in the same form: each function gives its violations as lines `path:line: what to do`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

BLOB_BYTES = 200_000
_HEADING = re.compile(r"(#{1,6}) +(\S.*)")
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
_CHANGE = re.compile(r"\d+\.(added|changed|fixed|removed|security)\.md")
# Where developers and services check repositories out.
_MACHINE_PATH = re.compile(r"(?<![\w./$-])/(?:workspace|builds)/|(?<![\w./-])/root/\.")


def prose_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines outside code blocks, with their numbers."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if mark and not fence:
            fence = mark[1]
        elif mark and line.strip().startswith(fence):
            fence = ""
        elif not fence:
            yield number, line


def markdown_violations(root: Path, paths: Iterable[Path]) -> list[str]:
    """A page has one title, on its first line; headings go down by one; links within the repository lead somewhere."""
    found = []
    for path in paths:
        where = path.relative_to(root)
        headings = [(n, h) for n, line in prose_lines(path.read_text(encoding="utf-8")) if (h := _HEADING.match(line))]
        if not headings or headings[0][0] != 1 or headings[0][1][1] != "#":
            found.append(f"{where}:1: a page opens with its title: # Title")
        for (_, before), (number, after) in pairwise(headings):
            if after[1] == "#":
                found.append(f"{where}:{number}: a page has one title; use ##")
            elif len(after[1]) > len(before[1]) + 1:
                found.append(f"{where}:{number}: {after[1]} under {before[1]}; headings go down by one")
        found += _broken_links(path, where)
    return found


def _broken_links(path: Path, where: Path) -> Iterator[str]:
    for number, line in prose_lines(path.read_text(encoding="utf-8")):
        for link in _LINK.finditer(line):
            target, _, anchor = link[1].partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            page = path.parent / unquote(target) if target else path
            if not page.exists():
                yield f"{where}:{number}: {target} does not exist"
            elif anchor and page.suffix == ".md" and anchor not in anchors(page.read_text(encoding="utf-8")):
                yield f"{where}:{number}: {page.name} has no heading for #{anchor}"


def anchors(text: str) -> set[str]:
    """The anchors that a Markdown viewer gives the headings of a page."""
    titles = [found[2] for _, line in prose_lines(text) if (found := _HEADING.match(line))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def change_violations(root: Path) -> list[str]:
    """Change fragments are called NUMBER.KIND.md, so that a release can collect them."""
    return [
        f"changes/{path.name}:1: a fragment is called NUMBER.(added|changed|fixed|removed|security).md"
        for path in sorted((root / "changes").glob("*"))
        if path.name != "README.md" and not _CHANGE.fullmatch(path.name)
    ]


def file_violations(root: Path, paths: Iterable[Path]) -> list[str]:
    """Tracked files: none large, executables start with their interpreter, no path of one machine in a text."""
    found = []
    for path in paths:
        if path.is_symlink() or not path.is_file():
            continue
        where, data = path.relative_to(root), path.read_bytes()
        if len(data) > BLOB_BYTES:
            found.append(f"{where}:1: {len(data)} bytes; a repository is no place for large files")
        if path.stat().st_mode & 0o100 and not data.startswith(b"#!"):
            found.append(f"{where}:1: executable without a first line #!")
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if machine := _MACHINE_PATH.search(line):
                found.append(f"{where}:{number}: {machine[0]} is a path of one machine")
    return found
