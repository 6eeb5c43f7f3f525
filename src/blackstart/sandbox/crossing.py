"""Renames that only the sandbox turns into copies: each state directory and `/tmp` is a file system of its own there.

A rename from one file system to another fails with EXDEV (rename(2)), and a program such as mv then copies. Where
`/tmp` is a tmpfs, as many distributions set it up, this happens outside too: a finding about the copy is true there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from blackstart.core.trace import Operation
from blackstart.sandbox.layout import Layout
from blackstart.sandbox.plan import FRESH, below


def crossings(trace: Iterable[Operation], layout: Layout, name: Callable[[str], str]) -> list[str]:
    """One sentence for each rename that fails inside for this reason and would not on this machine.

    name: what a path is called in reports.
    """
    renames = [o for o in trace if o.call.startswith("rename") and o.path.startswith("/") and o.path2.startswith("/")]
    return list(dict.fromkeys(_told(name(o.path), name(o.path2)) for o in renames if _is_ours(o, layout)))


def _is_ours(rename: Operation, layout: Layout) -> bool:
    return _place(rename.path, layout) != _place(rename.path2, layout) and _are_one(rename.path, rename.path2)


def _place(path: str, layout: Layout) -> str:
    """The copy or fresh directory that holds this path; '' for the overlays of all else."""
    return max((place for place in (*layout.copies, *FRESH) if below(path, [place])), key=len, default="")


def _are_one(path: str, other: str) -> bool:
    """Whether both lie on one file system of the machine; False where a directory is not there."""
    try:
        return os.stat(os.path.dirname(path)).st_dev == os.stat(os.path.dirname(other)).st_dev
    except OSError:
        return False


def _told(path: str, other: str) -> str:
    return (
        f"the rename of {path} to {other} crosses file systems in the sandbox (EXDEV), and here it would not: "
        "what is found about a copy in its place is true where the two are apart, as where /tmp is a tmpfs"
    )
