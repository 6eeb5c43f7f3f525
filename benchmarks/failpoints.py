"""What a failpoint costs: a pass of it disarmed and armed, arming itself, and imports with the finder in front.

    taskset -c 1 python benchmarks/failpoints.py [--modules 200] [--objects 2000000]

Bounds: the same bytecode while disarmed, 40 ns with an empty hook, 1 µs with a full rule, 10 ms to arm and disarm in a
small process, 60 ms beside two million objects, 10 % on imports. Best of several rounds; the call without anything
stands beside, so that ratios can be formed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from blackstart.inprocess import armed, arming, importing, weaving

SOURCE = "def plain(a):\n    return a\n\n\ndef marked(a):\n    # failpoint: bench\n    return a\n"
CALLS, ROUNDS = 200_000, 7


def pass_ns(function: Callable[[int], int]) -> float:
    """Nanoseconds of one call, the best of ROUNDS."""
    return min(timeit.repeat(lambda: [function(1) for _ in range(CALLS)], number=1, repeat=ROUNDS)) / CALLS * 1e9


def arming_ms() -> float:
    """Milliseconds to arm and disarm, the best of 20."""
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        with armed("bench", "off"):
            pass
        best = min(best, time.perf_counter() - began)
    return best * 1e3


def import_s(names: list[str]) -> float:
    """Seconds to import these modules afresh, the best of 5, from compiled files."""
    best = float("inf")
    for _ in range(5):
        for name in names:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        began = time.perf_counter()
        for name in names:
            importlib.import_module(name)
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--modules", type=int, default=200)
    parser.add_argument("--objects", type=int, default=2_000_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        sys.path.insert(0, place)
        Path(place, "bench_module.py").write_text(SOURCE)
        module = importlib.import_module("bench_module")
        without = pass_ns(module.plain)
        print(f"call without a failpoint    {without:8.0f} ns")
        print(f"disarmed                    {pass_ns(module.marked) - without:+8.0f} ns")
        with armed("bench", "@999999999 return(1)", may_miss=True):
            print(f"armed, full rule            {pass_ns(module.marked) - without:+8.0f} ns")
        hooks, arming.hooks_of = arming.hooks_of, lambda *_: weaving.Hooks(lambda: None, lambda: None)
        with armed("bench", "off"):
            print(f"armed, empty hook           {pass_ns(module.marked) - without:+8.0f} ns")
        arming.hooks_of = hooks
        print(f"disarmed again              {pass_ns(module.marked) - without:+8.0f} ns")
        print(f"arm and disarm              {arming_ms():8.1f} ms")
        kept = [[] for _ in range(chosen.objects)]  # type: ignore[var-annotated]
        print(f"the same, {len(kept):,} objects {arming_ms():8.1f} ms")
        del kept
        names = [f"bench_import_{number}" for number in range(chosen.modules)]
        body = "\n".join(f"def f{n}(a, b=1):\n    return [a, b, {n}]\n" for n in range(60))
        for name in names:
            Path(place, f"{name}.py").write_text(body)
        import_s(names)
        bare = import_s(names)
        importing.install()
        ratio = import_s(names) / bare
        print(f"import of {chosen.modules} modules       {bare * 1e3:8.1f} ms, with the finder × {ratio:.2f}")


if __name__ == "__main__":
    main()
