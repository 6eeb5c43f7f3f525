"""Links as people know them, by name, and as arguments of tc-netem(8) for links that are not ours.

`chaos-*`, `loss-10`, `delay-500`, `jitter-300` are what their names say; `gprs` to `wifi` and `starlink` follow the
presets of comcast's documentation, `flaky-wifi` (bursts of loss) and `satellite` (a geostationary round trip) are ours.
Each applies per direction.
"""

from __future__ import annotations

import difflib

from blackstart.lab.impairment import Burst, Impairment, LabError

PROFILES: dict[str, Impairment] = {
    "chaos-loss-30": Impairment(loss_percent=30),
    "chaos-loss-50": Impairment(loss_percent=50),
    "chaos-reorder": Impairment(delay_ms=50, reorder_percent=25),
    "chaos-duplicate": Impairment(duplicate_percent=25),
    "chaos-corrupt": Impairment(corrupt_percent=5),
    "chaos-delay-500": Impairment(delay_ms=500),
    "loss-10": Impairment(loss_percent=10),
    "delay-100": Impairment(delay_ms=100),
    "delay-500": Impairment(delay_ms=500),
    "jitter-100": Impairment(delay_ms=150, jitter_ms=100),
    "jitter-300": Impairment(delay_ms=350, jitter_ms=300),
    "gprs": Impairment(delay_ms=500, rate_kbit=50, loss_percent=2),
    "edge": Impairment(delay_ms=300, rate_kbit=250, loss_percent=1.5),
    "3g": Impairment(delay_ms=250, rate_kbit=750, loss_percent=1.5),
    "dial-up": Impairment(delay_ms=185, rate_kbit=40, loss_percent=2),
    "dsl-poor": Impairment(delay_ms=70, rate_kbit=2000, loss_percent=2),
    "dsl": Impairment(delay_ms=40, rate_kbit=8000, loss_percent=0.5),
    "wifi": Impairment(delay_ms=40, rate_kbit=30000, loss_percent=0.2),
    "flaky-wifi": Impairment(
        delay_ms=20, jitter_ms=15, burst=Burst(enter_percent=2, leave_percent=15, lost_inside_percent=80)
    ),
    "satellite": Impairment(delay_ms=300, rate_kbit=10000, loss_percent=0.5),
    "starlink": Impairment(delay_ms=20, loss_percent=2.5),
}


def profile(name: str) -> Impairment:
    """The impairment of this name; LabError with near matches."""
    if name not in PROFILES:
        near = difflib.get_close_matches(name, PROFILES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"profiles are {', '.join(PROFILES)}"
        raise LabError(f"no profile {name!r}", next_step=hint)
    return PROFILES[name]


def netem(wish: Impairment) -> str:
    """The same as arguments of netem, as tc-netem(8) reads them. Raises LabError for what it cannot do."""
    if wish.when or wish.protocol or wish.port:
        raise LabError("netem picks no single packets and no ports", next_step="use the lab, or leave `when` out")
    if wish.forgets_connections:
        raise LabError("netem knows no connections", where="forgets_connections", next_step="use the lab")
    if wish.keeps_order and wish.jitter_ms:
        raise LabError("netem lets packets overtake each other", where="keeps_order", next_step="use the lab")
    words = [f"limit {wish.queue_packets}"]
    if wish.delay_ms or wish.jitter_ms:
        words.append(f"delay {wish.delay_ms:g}ms" + (f" {wish.jitter_ms:g}ms" if wish.jitter_ms else ""))
        if wish.jitter_ms and wish.delay_correlation_percent:
            words.append(f"{wish.delay_correlation_percent:g}%")
        if wish.jitter_ms and wish.distribution != "uniform":
            words.append(f"distribution {wish.distribution}")
    if wish.burst is not None:
        burst = wish.burst
        words.append(
            f"loss gemodel {burst.enter_percent:g}% {burst.leave_percent:g}% {burst.lost_inside_percent:g}% "
            f"{burst.lost_outside_percent:g}%"
        )
    elif wish.loss_percent:
        words.append(f"loss {wish.loss_percent:g}%" + _correlation(wish.loss_correlation_percent))
    if wish.corrupt_percent:
        words.append(f"corrupt {wish.corrupt_percent:g}%")
    if wish.duplicate_percent:
        if wish.copies != 1:
            raise LabError("netem makes one copy of a packet at most", where="copies", next_step="give copies=1")
        words.append(f"duplicate {wish.duplicate_percent:g}%")
    if wish.reorder_percent:
        words.append(f"reorder {wish.reorder_percent:g}%" + (f" gap {wish.gap}" if wish.gap > 1 else ""))
    if wish.rate_kbit:
        words.append(f"rate {wish.rate_kbit:g}kbit")
    return " ".join(words)


def _correlation(percent: float) -> str:
    return f" {percent:g}%" if percent else ""
