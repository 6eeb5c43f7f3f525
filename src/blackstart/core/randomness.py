"""Randomness that can be repeated: every use has its own source, derived from one seed and the use's name.

Because a source depends on its name and not on what was drawn before, adding a draw in one place does not shift
the draws in another, and a stored seed gives the same trials with the next version too.
This is the one module that imports `random`.
"""

from __future__ import annotations

import hashlib
import os
from random import Random

import msgspec

# The type of a seeded source, so that others can name it without importing `random`.
Source = Random


class Seed(msgspec.Struct, frozen=True):
    """The seed of a run: one number, printed in each report and taken by `--seed`."""

    number: int

    @classmethod
    def fresh(cls) -> Seed:
        """A seed nobody chose; short enough to be typed."""
        return cls(int.from_bytes(os.urandom(4), "big"))

    def source(self, *names: str | int) -> Source:
        """The source of the use called `names`, e.g. `seed.source("trial", 7, "rule")`."""
        assert names, "a source needs a name of its own"
        # Length-prefixed, so that ("ab", "c") and ("a", "bc") differ.
        parts = [str(part).encode("utf-8", "surrogateescape") for part in (self.number, *names)]
        digest = hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).digest()
        return Random(int.from_bytes(digest, "big"))

    def child(self, *names: str | int) -> Seed:
        """A seed for a whole part of the run (a trial, a worker), itself a source of sources."""
        return Seed(self.source("seed", *names).getrandbits(32))
