"""Limits of this process, lowered for a while: `with lowered(descriptors=64): ...`.

Only the soft limit moves, so that it can come back. Limits are those of the whole process (setrlimit(2)).
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from blackstart.core.verbs import near
from blackstart.inprocess.errors import NotArmable

NAMES = {
    "descriptors": resource.RLIMIT_NOFILE,
    "file_bytes": resource.RLIMIT_FSIZE,
    "memory_bytes": resource.RLIMIT_AS,
    "processes": resource.RLIMIT_NPROC,
    "core_bytes": resource.RLIMIT_CORE,
}


@contextmanager
def lowered(**limits: int) -> Iterator[None]:
    """Lower these limits inside the block; names are those of NAMES.

    `descriptors` counts what is open already: `descriptors=64` leaves 64 minus those.
    """
    if not limits:
        raise NotArmable("no limit was given", next_step=f"limits are: {' '.join(NAMES)}")
    before = {}
    for name, value in limits.items():
        if name not in NAMES:
            raise NotArmable(f"no limit {name!r}{near(name, NAMES)}", next_step=f"limits are: {' '.join(NAMES)}")
        before[name] = resource.getrlimit(NAMES[name])
        if value < 0 or 0 <= before[name][1] < value:
            raise NotArmable(f"{name} cannot be {value}: the hard limit is {before[name][1]}")
        if name == "processes" and os.geteuid() == 0:
            raise NotArmable("the number of processes of root has no limit", next_step="run the test as another user")
    try:
        for name, value in limits.items():
            resource.setrlimit(NAMES[name], (value, before[name][1]))
        yield
    finally:
        for name, pair in before.items():
            resource.setrlimit(NAMES[name], pair)
