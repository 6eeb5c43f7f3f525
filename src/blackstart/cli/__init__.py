"""The command line: it parses, prints and chooses the exit status; it decides nothing else.

Everything heavy is imported where it is used, so that `blackstart --help` answers at once.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The entry point of `blackstart`."""
    try:
        _have_all_streams()
        from blackstart.cli.app import app
        from blackstart.cli.ending import parsed

        parsed(app)
    except KeyboardInterrupt:
        # Before the command itself has begun, which has an end of its own for this; much is imported until then.
        os.write(2, b"blackstart: interrupted\n")
        sys.exit(130)


def _have_all_streams() -> None:
    """Put /dev/null where a standard stream is closed, or the next file that is opened would get what is printed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or os.fdopen(number, mode, closefd=False)
        for number, mode, stream in ((0, "r", sys.stdin), (1, "w", sys.stdout), (2, "w", sys.stderr))
    )
