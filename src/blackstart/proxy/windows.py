"""The times at which toxics are active, so that a schedule needs no client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from blackstart.core.clock import SYSTEM
from blackstart.core.errors import BlackstartError
from blackstart.proxy.toxic import Toxic

log = logging.getLogger("blackstart.proxy")


class Windows:
    """Tells `apply` when the window of a toxic opens and closes."""

    def __init__(self, apply: Callable[[Toxic, bool], Awaitable[None]]) -> None:
        self._apply = apply
        self._tasks: dict[Toxic, asyncio.Task[None]] = {}

    def add(self, toxic: Toxic) -> None:
        """Follow this toxic's window, if it has one, from now on."""
        if toxic.opening is not None:
            self._tasks[toxic] = asyncio.get_running_loop().create_task(self._follow(toxic))

    def remove(self, toxic: Toxic) -> None:
        """Follow it no longer."""
        task = self._tasks.pop(toxic, None)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        for toxic in list(self._tasks):
            self.remove(toxic)

    async def _follow(self, toxic: Toxic) -> None:
        window = toxic.opening
        assert window is not None
        began = SYSTEM.monotonic()
        while (wait_s := window.next_change_s(SYSTEM.monotonic() - began)) is not None:
            await asyncio.sleep(wait_s)
            try:
                await self._apply(toxic, window.is_open(SYSTEM.monotonic() - began))
            except BlackstartError as error:
                # Its port may be somebody else's by now. The next change tries again.
                log.error("the window of toxic %s: %s", toxic.name, error.what)
