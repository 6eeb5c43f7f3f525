"""A program that runs on a host of a lab: what subprocess.Popen is elsewhere, but reached by a descriptor of it.

It is no child of the caller's, so its end is told through a pipe. A pid is looked up only to be shown.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import subprocess
import time
from typing import BinaryIO


class Process:
    """args; stdin, stdout and stderr where they are pipes (binary); returncode: as subprocess.Popen's, None while it
    runs, negative for a signal."""

    def __init__(self, args: tuple[str, ...], pidfd: int, report: int, pipes: list[BinaryIO | None]) -> None:
        self.args = args
        self.stdin, self.stdout, self.stderr = pipes
        self.returncode: int | None = None
        self._pidfd = pidfd
        self._report = report

    @property
    def pid(self) -> int:
        """Its number as the caller sees it; -1 when it has ended."""
        if self._pidfd >= 0:
            with open(f"/proc/self/fdinfo/{self._pidfd}", encoding="ascii") as lines:
                for line in lines:
                    if line.startswith("Pid:"):
                        return int(line.split()[1])
        return -1

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most so many seconds; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._report, select.POLLIN)
            if not waiting.poll(None if timeout is None else timeout * 1000):
                assert timeout is not None
                raise subprocess.TimeoutExpired(list(self.args), timeout)
            told = os.read(self._report, 4)
            # Nothing is told where the whole lab has ended first.
            self.returncode = struct.unpack("=i", told)[0] if len(told) == 4 else -int(signal.SIGKILL)
            os.close(self._report)
            os.close(self._pidfd)
            self._pidfd = -1
        return self.returncode

    def communicate(self, data: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        """Feed it, read all it says, wait for its end; raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        said = {stream: bytearray() for stream in (self.stdout, self.stderr) if stream is not None}
        waiting = select.poll()
        by_descriptor = {stream.fileno(): stream for stream in said}
        if self.stdin is not None:
            os.set_blocking(self.stdin.fileno(), False)
            by_descriptor[self.stdin.fileno()] = self.stdin
        for stream in by_descriptor.values():
            waiting.register(stream, select.POLLOUT if stream is self.stdin else select.POLLIN)
        while by_descriptor:
            events = waiting.poll(None if end is None else max(0.0, end - time.monotonic()) * 1000)
            if not events:
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0.0)
            for descriptor, _ in events:
                stream = by_descriptor[descriptor]
                if stream is self.stdin:
                    data = _written(descriptor, data)
                    is_done = not data
                else:
                    chunk = os.read(descriptor, 65536)
                    said[stream] += chunk
                    is_done = not chunk
                if is_done:
                    waiting.unregister(descriptor)
                    del by_descriptor[descriptor]
                    stream.close()
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        out, err = (bytes(said.get(stream, b"")) if stream else b"" for stream in (self.stdout, self.stderr))
        return out, err

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the pipes."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.wait()


def _written(descriptor: int, data: bytes) -> bytes:
    """What of the data is left to write; nothing where nobody reads."""
    try:
        return data[os.write(descriptor, data) :] if data else b""
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return b""
