"""Confines a process and its children where namespaces are refused: it may read everything and write only its copy.

The kernel's Landlock does it for files, for signals and for abstract sockets (its interface 6, Linux 6.12, or later;
older ones leave doors open that no filter can close, so they are not used). The rest is in `refusals`.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable

from blackstart.sandbox import kernel
from blackstart.sandbox.refusals import compile_refusals

VERSION_MIN = 6
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_TRUNCATE = 1 << 14
_ALL_OF_FILES = (1 << 16) - 1
_BIND_AND_CONNECT = 3
_ABSTRACT_SOCKETS_AND_SIGNALS = 3
_DEVICES = ("null", "zero", "full", "random", "urandom")


def confine(writable: Iterable[str]) -> None:
    """From here on this process and its children write below `writable` only; no_new_privs is already set."""
    rules = struct.pack("=QQQ", _ALL_OF_FILES, _BIND_AND_CONNECT, _ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = kernel.landlock_ruleset(rules)
    try:
        _allow(ruleset, "/", _EXECUTE | _READ | _LIST)
        for path in writable:
            _allow(ruleset, path, _ALL_OF_FILES)
        for name in _DEVICES:
            with contextlib.suppress(FileNotFoundError):
                _allow(ruleset, f"/dev/{name}", _READ | _WRITE | _TRUNCATE)
        kernel.landlock_restrict(ruleset)
    finally:
        os.close(ruleset)
    kernel.install_filter(compile_refusals())


def _allow(ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        kernel.landlock_allow(ruleset, place, rights)
    finally:
        os.close(place)
