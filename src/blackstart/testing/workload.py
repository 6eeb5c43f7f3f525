"""For workloads of services: one line for each thing that was asked, as `blackstart run --workload` reads them."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from blackstart.core.clock import SYSTEM

# No answer came, so what was asked may have been done or not.
UNKNOWN = (ConnectionError, TimeoutError, EOFError)


def say(how: str, identity: str, latency_ms: float | None = None) -> None:
    """Write one line at once; how is ok, fail or info, identity one word."""
    assert how in ("ok", "fail", "info"), how
    assert identity and len(identity.split()) == 1, f"{identity!r} must be one word"
    took = "" if latency_ms is None else f" {latency_ms:.3f}"
    sys.stdout.write(f"{how} {identity}{took}\n")
    sys.stdout.flush()


@contextmanager
def report(identity: str) -> Iterator[None]:
    """Say how the block went: `ok` if it ends, `info` if no answer came, `fail` for any other exception.

    The exception is told, on standard error too, not raised: a workload goes on with the next thing.
    """
    began_s = SYSTEM.monotonic()
    why = ""
    try:
        yield
        how = "ok"
    except Exception as error:
        why = "".join(traceback.format_exception_only(error)).strip()
        # Clients wrap what the socket gave them, urllib as `reason`, most others as the cause.
        causes = (error, error.__cause__, error.__context__, getattr(error, "reason", None))
        how = "info" if any(isinstance(cause, UNKNOWN) for cause in causes) else "fail"
    say(how, identity, (SYSTEM.monotonic() - began_s) * 1000)
    if why:
        sys.stderr.write(f"{identity}: {why}\n")
