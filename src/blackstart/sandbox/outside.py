"""Where the state stands for the target when there are no mounts to put it in its usual place.

Copies lie in a work area; the working directory is always among them, because nothing else can be written. What the
target is told (arguments, environment, working directory) is rewritten; what it is seen to do is translated back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from blackstart.core.errors import BlackstartError
from blackstart.sandbox.layout import Layout, outermost


def copies(layout: Layout) -> tuple[str, ...]:
    """The directories that are copied under this isolation."""
    if layout.opened:
        raise BlackstartError(
            "--allow cannot open sockets or devices where namespaces are refused",
            where=", ".join(layout.opened),
            next_step="run `blackstart doctor` to see what refuses them",
        )
    if layout.cwd == "/":
        raise BlackstartError(
            "the working directory is /, which cannot be copied", next_step="start in the program's own directory"
        )
    return outermost((*layout.copies, layout.cwd))


class Places:
    """Translates between the usual paths and those of the work area; without a work area both are the same."""

    def __init__(self, roots: Iterable[str], live: str, home: str = "") -> None:
        pairs = [(root, f"{live}/copy/{index}") for index, root in enumerate(roots)]
        self._there = sorted(pairs, key=lambda p: -len(p[0]))
        self._live = live
        self._back = [(there, root) for root, there in pairs]
        self.writable = [f"{live}/{part}" for part in ("copy", "fresh", "root")] if live else []
        if live:
            self._back += [(f"{live}/fresh/0", "/tmp"), (f"{live}/root", home)]
        roots_text = "|".join(re.escape(root) for root, _ in self._there)
        self._pattern = re.compile(rf"(?<![\w.\-/])({roots_text})(?=$|[/\s:;,=\"'()&|<>])") if roots_text else None

    def rewritten(self, text: str) -> str:
        """A text for the target, with every usual path replaced by the real one."""
        if self._pattern is None:
            return text
        there = dict(self._there)
        return self._pattern.sub(lambda match: there[match[1]], text)

    def environment(self, usual: Mapping[str, str]) -> dict[str, str]:
        """An environment for the target."""
        if not self._live:
            return dict(usual)
        changed = {name: self.rewritten(value) for name, value in usual.items()}
        if changed.get("HOME") == usual.get("HOME"):
            changed["HOME"] = f"{self._live}/root"
        return changed | dict.fromkeys(("TMPDIR", "TMP", "TEMP", "XDG_RUNTIME_DIR"), f"{self._live}/fresh/0")

    def rules(self) -> tuple[tuple[str, str], ...]:
        """What `usual` does, as (regular expression, replacement) pairs; they hold for every work area of a layout."""
        escaped = re.escape(self._live)
        plain = re.sub(r"blackstart\\?-[0-9a-f]{16}(?=/images/)", "blackstart-[0-9a-f]{16}", escaped)
        return tuple((f"^{plain}{re.escape(there[len(self._live) :])}(?=/|$)", usual) for there, usual in self._back)

    def usual(self, path: str) -> str:
        """The usual path of one that the target was seen to use."""
        for there, usual in self._back:
            if path == there or path.startswith(there + "/"):
                return usual + path[len(there) :]
        return path

    def usual_output(self, data: bytes) -> bytes:
        """What the target wrote, with the real paths in it replaced by the usual ones."""
        for there, usual in self._back:
            data = data.replace(there.encode("utf-8", "surrogateescape"), usual.encode("utf-8", "surrogateescape"))
        return data
