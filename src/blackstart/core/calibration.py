"""What the target does when nothing is broken: the yardstick of every oracle, measured in clean runs.

Made by `surface` from traces and images, read by the oracles. All file paths here are *masked* paths.
"""

from __future__ import annotations

from typing import Any

import msgspec

from blackstart.core.history import Life
from blackstart.core.reading import FileState
from blackstart.core.trace import Operation

ROLES = ("install", "config", "state", "output", "log", "cache", "scratch", "lock")


class Mask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What differs between two clean runs from one start, and therefore is never judged.

    names: run-specific path -> masked path rules, as (regular expression, replacement) pairs;
    leaves: masked path -> patterns of content places that differ (digits in places are `*`);
    lines: masked path (or `stdout`, `stderr`) -> substitutions that make differing lines equal;
    hopeless: files that cannot be masked: unknown, never failed.
    """

    names: tuple[tuple[str, str], ...] = ()
    leaves: dict[str, tuple[str, ...]] = {}
    lines: dict[str, tuple[str, ...]] = {}
    hopeless: frozenset[str] = frozenset()


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """At the n-th output event (from 1) of a clean run: the version index that each file had reached; at_s: when, in
    seconds since the target's start, 0 if not known.
    """

    nth: int
    versions: dict[str, int]
    at_s: float = 0.0


class Effect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a service does by itself every period_s seconds; names: of its operations, as `Operation.name`."""

    period_s: float
    names: tuple[str, ...]

    @property
    def watch_s(self) -> float:
        """How long one waits for it to come again: three periods, at least one and 5 s."""
        return max(3 * self.period_s, self.period_s + 5.0)


class CleanRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One clean run of the chain, from the start state `start`.

    stdout, stderr: masked text digests and, for messages, the text itself; files: masked path -> final state;
    versions: masked path -> its contents at version boundaries, in order, the first being what stood there at the
    start (None: no such file), the last the final one; check: the masked answer of `--check` afterwards;
    check_steps: (output events that had got out, answer) at moments of the run, in order; signal, left, life: as
    in history.Run, of a service; recording: what the kind `power` makes its states from, None if it was not asked
    for; memory_bytes: address space when its work began, and at most; resident_bytes: the same of what it really has.
    """

    start: str
    code: int
    elapsed_s: float
    stdout: str = ""
    stderr: str = ""
    files: dict[str, FileState] = {}
    versions: dict[str, tuple[FileState | None, ...]] = {}
    acknowledgements: tuple[Acknowledgement, ...] = ()
    check: str = ""
    check_code: int = 0
    check_versions: tuple[str, ...] = ()
    trace: tuple[Operation, ...] = ()
    signal: int = 0
    left: tuple[str, ...] = ()
    life: Life | None = None
    check_steps: tuple[tuple[int, str], ...] = ()
    recording: Any = None
    memory_bytes: tuple[int, int] = (0, 0)
    resident_bytes: tuple[int, int] = (0, 0)


class Calibration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole yardstick."""

    mask: Mask = Mask()
    # By masked path; one of ROLES.
    roles: dict[str, str] = {}
    # Clean runs S0 -> S1 -> S2 -> S3, `chain[k]` starting at Sk; whether the program refuses a second run.
    chain: tuple[CleanRun, ...] = ()
    refuses_rerun: bool = False
    # Per start, contents per masked path after a clean re-run from each boundary state of a clean run.
    boundary_reruns: dict[str, tuple[dict[str, FileState], ...]] = {}
    # Of all clean runs (of a service: to get ready, or to stop); of their workloads.
    slowest_s: float = 0.0
    slowest_work_s: float = 0.0
    # How many null trials there were; oracle -> why it is muted.
    nulls: int = 0
    muted: dict[str, str] = {}
    # Acknowledgements precede the write of their effect, with the evidence.
    write_behind: str = ""
    has_check: bool = False
    is_service: bool = False
    # How often the wall clock was read after the target's work had begun (0 also where that cannot be faulted).
    clock_reads: int = 0
    # Of a service, what it does by itself again and again.
    effects: tuple[Effect, ...] = ()
    # Masked paths of the sockets that lead to companions; those of them that take no streams.
    peers: tuple[str, ...] = ()
    datagram_peers: tuple[str, ...] = ()
    # How many the target asked our resolver.
    questions: int = 0
    # Masked state directories that none but their owner may enter.
    closed: tuple[str, ...] = ()
    # Whether a service's workload does its work as well when it runs a second time on what the first one left.
    repeats: bool = False
    # Controllers of control groups that this machine lets us make.
    groups: tuple[str, ...] = ()
