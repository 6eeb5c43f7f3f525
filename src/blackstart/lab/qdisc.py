"""An impairment as the kernel's netem takes it: the options of a queueing discipline, byte for byte.

Parameters and meaning are those of tc-netem(8) and linux/pkt_sched.h; tables of distributions have
netem's scale of 8192 to a standard deviation. What netem cannot do (picking packets, ports, connections, several
copies, keeping the order under jitter) is told apart by `can`. Times are given in nanoseconds too (LATENCY64), and the
seed of its draws, which kernels before 6.6 leave aside.
"""

from __future__ import annotations

import struct

from blackstart.lab.distribution import table as quantiles
from blackstart.lab.impairment import Distribution, Impairment

_CORRELATION, _TABLE, _REORDER, _CORRUPT, _LOSS, _RATE, _RATE64 = 1, 2, 3, 4, 5, 6, 8
_LATENCY64, _JITTER64, _SEED = 10, 11, 14
_BURSTS = 2  # NETEM_LOSS_GE, within the attribute of losses
_NESTED = 0x8000
_WHOLE = 0xFFFFFFFF
_SCALE, _SHORT_MAX = 8192, 32767
_TICK_NS = 64


def can(wish: Impairment) -> bool:
    """Whether netem does all of it."""
    picks = wish.when or wish.protocol or wish.port or wish.forgets_connections
    overtakes = wish.keeps_order and wish.jitter_ms
    return not (picks or overtakes or (wish.duplicate_percent and wish.copies != 1))


def options(wish: Impairment, seed: int = 0) -> bytes:
    """The body of TCA_OPTIONS for this; a plain Impairment() lets everything pass at once."""
    assert can(wish), wish
    delay_ns, jitter_ns = int(wish.delay_ms * 1e6), int(wish.jitter_ms * 1e6)
    gap = wish.gap if wish.reorder_percent else 0
    ticks = [min(ns // _TICK_NS, _WHOLE) for ns in (delay_ns, jitter_ns)]
    loss = 0 if wish.burst else _share(wish.loss_percent)
    body = struct.pack("=6I", ticks[0], wish.queue_packets, loss, gap, _share(wish.duplicate_percent), ticks[1])
    correlations = (wish.delay_correlation_percent, wish.loss_correlation_percent, 0.0)
    body += _attribute(_CORRELATION, struct.pack("=3I", *map(_share, correlations)))
    body += _attribute(_REORDER, struct.pack("=2I", _share(wish.reorder_percent), 0))
    body += _attribute(_CORRUPT, struct.pack("=2I", _share(wish.corrupt_percent), 0))
    if wish.burst is not None:
        burst = wish.burst
        # The kernel keeps, of the bad state, the share that is not lost.
        shares = (burst.enter_percent, burst.leave_percent, 100 - burst.lost_inside_percent, burst.lost_outside_percent)
        body += _attribute(_LOSS | _NESTED, _attribute(_BURSTS, struct.pack("=4I", *map(_share, shares))))
    bytes_per_s = int(wish.rate_kbit * 125)
    body += _attribute(_RATE, struct.pack("=IiIi", min(bytes_per_s, _WHOLE), 0, 0, 0))
    if bytes_per_s > _WHOLE:
        body += _attribute(_RATE64, struct.pack("=Q", bytes_per_s))
    if jitter_ns:  # always: without one, a change would keep that of the fault before
        body += _attribute(_TABLE, table(wish.distribution))
    body += _attribute(_LATENCY64, struct.pack("=q", delay_ns)) + _attribute(_JITTER64, struct.pack("=q", jitter_ns))
    return body + _attribute(_SEED, struct.pack("=Q", seed))


def table(distribution: Distribution) -> bytes:
    """The distribution's quantiles as signed 16-bit numbers."""
    shorts = [max(-_SHORT_MAX, min(_SHORT_MAX, round(value * _SCALE))) for value in quantiles(distribution)]
    return struct.pack(f"={len(shorts)}h", *shorts)


def _share(percent: float) -> int:
    return round(percent / 100 * _WHOLE)


def _attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length % 4)
