"""Where a system keeps what is installed, as beginnings of paths: nobody's state, wherever a sandbox shows the host's.

Not /opt: who writes there keeps its state there.
"""

from __future__ import annotations

INSTALLED = (
    "/usr/", "/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/", "/boot/", "/nix/", "/snap/",
)  # fmt: skip
