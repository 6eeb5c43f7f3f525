"""The command line: it parses, prints and chooses the exit status; it decides nothing else.

Everything heavy is imported where it is used, so that `blackstart --help` answers at once.
"""

from __future__ import annotations


def main() -> None:
    """The entry point of `blackstart`."""
    from blackstart.cli.app import app

    app()
