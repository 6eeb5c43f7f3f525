"""Programs beside the target in its sandbox: companions that it needs, workloads that use it.

Each lives below a keeper of its own, which takes its orphans as well. So whoever ends the target knows which processes
are the target's, whatever either of them does: all that is not below a keeper.
"""

from __future__ import annotations

import os
import socket
from typing import Any, NoReturn

from blackstart.sandbox import kernel, launcher, wire

_CHILD_SUBREAPER = 36


def keep(order: dict[str, Any], descriptors: list[int], events: socket.socket, network: int) -> NoReturn:
    """Start the order's program; tell on `events` how it ended; go when nothing of it is left.

    network: a descriptor of the network that it lives in, -1: the target's.
    """
    try:
        if network >= 0:
            kernel.enter_namespace(network, kernel.NEWNET)
        os.setsid()
        kernel.prctl(_CHILD_SUBREAPER, 1)
        child = os.fork()
        if child == 0:
            _launch(order, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        while True:
            pid, status = os.wait()
            if pid == child:
                wire.send(events, {"number": order["number"], "status": status})
    except (ChildProcessError, wire.Closed):
        pass
    finally:
        os._exit(0)


def _launch(order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    try:
        launcher.settle()
        launcher.launch(order, descriptors)
    finally:
        os._exit(127)
