"""`python -m blackstart` is `blackstart`."""

from blackstart.cli import main

main()
