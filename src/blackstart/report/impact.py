"""What those who use a service saw of the faults of one kind, in words. Pure."""

from __future__ import annotations

from blackstart.report.model import Impact, Recovery, Served


def sentences(impact: Impact) -> list[str]:
    """One for each stage in which something was asked, and one for each way of counting the time to recover."""
    stages = [_stage(stage) for stage in impact.served if stage.asked]
    if stages and impact.not_measured:
        stages.append(f"after: not measured: {impact.not_measured}")
    return stages + [_recovered(known) for known in impact.recoveries]


def half(known: Recovery) -> str:
    """When half of them were well again; what took less than can be written here is no nothing."""
    if known.median_s < 0:
        return f"not half within {known.watched_s:.1f} s"
    return f"half within {max(known.median_s, 0.01):.2f} s"


def _stage(stage: Served) -> str:
    took = f"; p50 {stage.p50_ms:.1f} ms, p99 {stage.p99_ms:.1f} ms" if stage.p99_ms >= 0 else ""
    return f"{stage.when}: {stage.answered} of {stage.asked} answered ({stage.answered / stage.asked:.0%}){took}"


def _recovered(known: Recovery) -> str:
    return f"well again in {known.recovered} of {known.trials}, counted from {known.since}: {half(known)}"
