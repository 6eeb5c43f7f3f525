"""What a process writes to its standard output and error, read as it comes: a full pipe would stop it."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from blackstart.core.history import Output

OUTPUT_LIMIT_BYTES = 4 << 20  # of each stream: one that floods must not silence the other
_CHUNK_BYTES = 1 << 16


class Pipes:
    """The target's stdout and stderr: read as they come, kept up to a limit, counted beyond it."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self.outputs: list[Output] = []
        self.seen_bytes = 0
        self._kept_bytes: dict[str, int] = {}
        self._open: dict[int, str] = {}
        self.write_ends: tuple[int, int] = (-1, -1)
        stdout, stdout_end = os.pipe()
        stderr, stderr_end = os.pipe()
        self.write_ends = (stdout_end, stderr_end)
        for descriptor, stream in ((stdout, "stdout"), (stderr, "stderr")):
            os.set_blocking(descriptor, False)
            self._open[descriptor] = stream

    def descriptors(self) -> list[int]:
        return list(self._open)

    def started(self) -> None:
        for descriptor in self.write_ends:
            os.close(descriptor)
        self.write_ends = (-1, -1)

    def read(self, descriptor: int) -> bool:
        """Take what is there; False when the pipe is at its end (also if it was seen to be so before)."""
        if descriptor not in self._open:
            return False
        try:
            data = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if not data:
            del self._open[descriptor]
            os.close(descriptor)
            return False
        stream = self._open[descriptor]
        if self._kept_bytes.get(stream, 0) < OUTPUT_LIMIT_BYTES:
            self.outputs.append(Output(stream=stream, data=data, at_s=self._now_s()))
            self._kept_bytes[stream] = self._kept_bytes.get(stream, 0) + len(data)
        self.seen_bytes += len(data)
        return True

    def drain(self) -> None:
        """Read all that is already in the pipes, without waiting."""
        poller = select.poll()
        for descriptor in self.descriptors():
            poller.register(descriptor, select.POLLIN)
        for _ in range(OUTPUT_LIMIT_BYTES // _CHUNK_BYTES):
            ready = [d for d, event in poller.poll(0) if event]
            for descriptor in ready:
                if not self.read(descriptor):
                    poller.unregister(descriptor)
            if not ready:
                return

    def text(self, stream: str) -> str:
        """All that is kept of one stream."""
        kept = b"".join(output.data for output in self.outputs if output.stream == stream)
        return kept.decode("utf-8", "surrogateescape")

    def lines(self) -> int:
        """How many lines have got out on stdout."""
        return sum(output.data.count(b"\n") for output in self.outputs if output.stream == "stdout")

    def close(self) -> None:
        for descriptor in self.descriptors():
            os.close(descriptor)
        self._open.clear()
        for descriptor in self.write_ends:
            if descriptor >= 0:
                os.close(descriptor)
