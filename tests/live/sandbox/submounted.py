"""Uses a sandbox over a tree with mounts below it; run in a mount namespace where these can be made."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from blackstart.sandbox import Layout, Zygote

base = Path(sys.argv[1])
inner, state = base / "disk/inner", base / "state"
(inner / "deep").mkdir()
(inner / "deep/file").write_text("before")
(base / "disk/plain").write_text("small")
(base / "disk/large").write_bytes(b"l" * 100_000)
(base / "disk/odd, name:\\x").mkdir()
(base / "disk/odd, name:\\x/file").write_text("odd")
server = socket.socket(socket.AF_UNIX)
server.bind(str(inner / "deep/socket"))
server.listen()
server.setblocking(False)
null = os.open("/dev/null", os.O_RDWR)
SCRIPT = f"""
cd {base}/disk
cat inner/deep/file plain; echo after > inner/deep/file; echo new > inner/deep/new; cat inner/deep/file
cat 'odd, name:\\x/file'; echo more >> 'odd, name:\\x/file'; head -c 3 large; echo x >> plain
echo x >> large; test $? != 0 && echo 'large refused'
python3 -c "import socket; socket.socket(socket.AF_UNIX).connect('inner/deep/socket')" 2>/dev/null || echo cut
"""
with Zygote(Layout.of(cwd=str(base), home=str(base), copies=[str(state)])) as zygote:
    zygote.capture("S0")
    reading, writing = os.pipe()
    with zygote.sandbox("S0") as sandbox, os.fdopen(reading) as output:
        sandbox.start(["sh", "-c", SCRIPT], env={"PATH": "/usr/bin:/bin"}, stdin=null, stdout=writing, stderr=null)
        os.close(writing)
        print(output.read().split())
        print(sorted(c.path.removeprefix(str(base)) for c in zygote.changes("S0")))
        print("large" in sandbox.trouble([str(base / "disk/large")]), repr(sandbox.trouble([str(inner / "deep/file")])))
print((inner / "deep/file").read_text(), sorted(os.listdir(inner / "deep")), (base / "disk/plain").read_text())
