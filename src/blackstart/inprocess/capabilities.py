"""Permissions that bite as root too: two capabilities leave the effective set of the calling thread for a while.

They stay permitted, so that they can come back; other threads are not touched, threads started meanwhile inherit. A
program that root starts gets all its capabilities back at exec: for children use the sandbox (`target`).
See capabilities(7); the structures are those of capget(2), version 3.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION = 0x20080522
_OVERRIDES = (1 << 1) | (1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def without_overrides() -> Iterator[None]:
    """The calling thread is bound by permission bits inside this, whoever it is."""
    library = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(_VERSION, 0), (_Data * 2)()
    _check(library.capget(ctypes.byref(header), data))
    before = data[0].effective
    data[0].effective = before & ~_OVERRIDES
    _check(library.capset(ctypes.byref(header), data))
    try:
        yield
    finally:
        _check(library.capget(ctypes.byref(header), data))
        data[0].effective |= before & _OVERRIDES
        _check(library.capset(ctypes.byref(header), data))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
