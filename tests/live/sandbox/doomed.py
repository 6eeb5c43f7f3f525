"""Uses sandboxes without end until somebody kills it: argv is the isolation and a directory of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from blackstart.sandbox import Layout, Zygote

FLIGHT = "for i in 1 2 3; do setsid sh -c 'echo $$ >> state/pids; exec sleep 300' & done; echo x > state/x; wait"


def main() -> None:
    isolation, base = sys.argv[1], Path(sys.argv[2])
    state = base / "app/state"
    state.mkdir(parents=True, exist_ok=True)
    (state / "notes").write_text("n" * 100_000)
    null = os.open("/dev/null", os.O_RDWR)
    layout = Layout.of(cwd=str(state.parent), home=str(base), copies=[str(state)])
    os.write(1, b"begun\n")
    while True:
        with Zygote(layout, isolation=isolation) as zygote:
            zygote.capture("S0")
            for index in range(5):
                zygote.copy("S0", f"trial-{index}")
                zygote.prepare(f"trial-{index}")
                with zygote.sandbox(f"trial-{index}") as sandbox:
                    for _ in range(2):
                        sandbox.start(["sh", "-c", FLIGHT], env=dict(os.environ), stdin=null, stdout=null, stderr=null)
                        while len(sandbox.census()) < 4:
                            pass
                        sandbox.kill()
                zygote.drop(f"trial-{index}")


main()
