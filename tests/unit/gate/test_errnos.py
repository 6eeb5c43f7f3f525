"""The tables of errors: what the man pages list, and what of it is worth injecting."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blackstart.core.trace import FILE, SOCKET
from blackstart.gate import calls, errnos

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(not Path("/usr/share/man/man2/write.2.gz").exists(), reason="needs manpages-dev (not installed)")
def test_the_table_is_what_the_man_pages_say() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools/make_errnos.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_call_has_an_entry_of_known_names() -> None:
    for call in calls.CALLS:
        names = errnos.possible(call)
        assert list(names) == sorted(names)
        assert all(isinstance(getattr(errno, name), int) for name in names)


@pytest.mark.parametrize(
    ("call", "can", "cannot"),
    [
        ("write", "ENOSPC EIO EDQUOT EFBIG EROFS", "ENOENT EEXIST EXDEV"),
        ("read", "EIO EISDIR", "ENOSPC EROFS"),
        ("openat", "ENOSPC EMFILE ENFILE EROFS EACCES EIO", "EPIPE"),
        ("rename", "EXDEV ENOSPC EROFS EIO", "EBADF EMFILE"),
        ("renameat2", "EBADF EXDEV", "EMFILE"),
        ("fsync", "EIO ENOSPC EDQUOT EROFS", "ENOENT"),
        ("close", "EIO ENOSPC EDQUOT", "ENOENT"),
        ("mkdir", "ENOSPC EROFS", "EMFILE"),
        ("connect", "ECONNREFUSED ETIMEDOUT", "ENOSPC"),
        ("sync", "", "EIO"),
    ],
)
def test_what_calls_can_give(call: str, can: str, cannot: str) -> None:
    possible = set(errnos.possible(call))
    assert set(can.split()) <= possible
    assert not set(cannot.split()) & possible


def test_plausible_errors_are_possible_and_contradict_nothing() -> None:
    for call in calls.CALLS:
        for kind in (FILE, SOCKET):
            for flags in (0, os.O_WRONLY | os.O_CREAT):
                names = errnos.plausible(call, kind, flags)
                assert set(names) <= set(errnos.possible(call))
                assert len(names) == len(set(names))
                assert not {"ENOENT", "EEXIST", "EBADF", "EFAULT", "EINVAL", "EINTR", "EAGAIN"} & set(names) - {
                    "EAGAIN" if call in ("fork", "vfork", "clone", "clone3") else ""
                }


def test_the_kind_and_the_flags_decide() -> None:
    assert errnos.plausible("write")[0] == "ENOSPC"
    assert errnos.plausible("write", SOCKET)[0] == "EPIPE"
    assert errnos.plausible("write", "pipe") == ()
    assert "ENOSPC" in errnos.plausible("openat", FILE, os.O_CREAT | os.O_WRONLY)
    assert "ENOSPC" not in errnos.plausible("openat", FILE, os.O_RDONLY)
    assert "EROFS" not in errnos.plausible("openat", FILE, os.O_RDONLY)
    assert errnos.plausible("read") == ("EIO",)
