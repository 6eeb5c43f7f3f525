"""Meets, as an ordinary user, what only the sandbox refuses; prints what the sandbox then says of it."""

from __future__ import annotations

import os
import sys

from blackstart.sandbox import Layout, Zygote

base = sys.argv[1]
null = os.open("/dev/null", os.O_RDWR)
shared, own, locked = f"{base}/shared/file", f"{base}/own/file", f"{base}/locked/file"
with Zygote(Layout.of(cwd=base, home=base)) as zygote:
    zygote.capture("S0")
    for path in (shared, own, locked):
        with zygote.sandbox("S0") as sandbox:
            sandbox.start(["sh", "-c", f"echo x >> {path}"], env={}, stdin=null, stdout=null, stderr=2)
            ended = sandbox.event(200)
            assert ended is not None
            print(os.path.basename(os.path.dirname(path)), ended.status == 0, repr(sandbox.trouble([path])))
    with zygote.sandbox("S0") as sandbox:
        print("rename", repr(sandbox.trouble(renamed=[f"{base}/own", f"{base}/own/file"])))
    print("hidden", sorted(zygote.hidden) == sorted(set(zygote.hidden)), base in zygote.layers())
