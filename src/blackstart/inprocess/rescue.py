"""What a test broke for a while is put back though its process dies in that while: by SIGKILL, by os._exit.

A shell waits at the end of a pipe that this process holds; an interpreter, where HTTP is to be spoken. A line through
it says that all is well and nothing is to be done; the end of the pipe without a line, that nobody else is left who
could. What the program wrote meanwhile is kept, as at the end of the fault. A power cut takes the shell as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from blackstart.inprocess.errors import NotArmable

# $1: the broken file; $2: a directory with the good one and what it was broken to, if it is not just missing.
_CONTENT = """
read -r over && exit
if [ -e "$2/broken" ]; then cmp -s "$1" "$2/broken"; else [ ! -e "$1" ]; fi && cp -p "$2/good" "$1"
rm -r "$2"
"""
# $2 and $3: the permissions that it has now, and those that it had.
_MODE = 'read -r over && exit; [ "$(stat -c %a "$1" || stat -f %Lp "$1")" = "$2" ] && chmod "$3" "$1"'
# The words after it: host, port, path.
_DELETE = """
import http.client, sys
if not sys.stdin.readline():
    connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
    connection.request("DELETE", sys.argv[3])
    connection.getresponse()
"""
_PATH = "/usr/bin:/bin"


@contextmanager
def of_content(path: Path, broken: bytes | None) -> Iterator[None]:
    """Inside, a file that is broken to this content, or taken away (None), comes back if this process dies."""
    kept = Path(tempfile.mkdtemp(prefix="blackstart-good-"))
    try:
        shutil.copy2(path, kept / "good")
        status = path.stat()
        with suppress(PermissionError):  # whose it is, `cp -p` restores too
            os.chown(kept / "good", status.st_uid, status.st_gid)
        if broken is not None:
            (kept / "broken").write_bytes(broken)
        with _waiting(f"{path} would stay broken", _shell(_CONTENT, path, str(kept))):
            yield
    finally:
        shutil.rmtree(kept, ignore_errors=True)


@contextmanager
def of_mode(path: Path, broken: int, good: int) -> Iterator[None]:
    """Inside, these permissions become the good ones again if this process dies."""
    with _waiting(f"{path} would stay broken", _shell(_MODE, path, f"{broken:o}", f"{good:o}")):
        yield


@contextmanager
def of_resource(host: str, port: int, path: str) -> Iterator[None]:
    """Inside, what a program has at this path of its HTTP endpoint is deleted if this process dies."""
    command = [sys.executable, "-I", "-c", _DELETE, host, str(port), path]
    with _waiting(f"http://{host}:{port}{path} would stay set", command):
        yield


def _shell(script: str, path: Path, *arguments: str) -> list[str]:
    return ["/bin/sh", "-c", script, "sh", os.path.abspath(path), *arguments]


@contextmanager
def _waiting(without: str, command: Sequence[str]) -> Iterator[None]:
    waiting: subprocess.Popen[bytes] | None = None
    try:
        try:
            # A session of its own: an interrupt from the terminal is not meant for it.
            waiting = subprocess.Popen(
                command, stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": _PATH}, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise NotArmable(
                f"{without} if this process died, for nobody can be started who waits for that: {error.strerror}",
                next_step="break it before other faults take processes or descriptors away",
            ) from None
        yield
    finally:
        if waiting is not None:
            waiting.communicate(b"over\n")
