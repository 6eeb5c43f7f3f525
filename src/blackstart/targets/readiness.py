"""How one sees that a service is ready: `tcp:PORT`, `http:URL`, `log:REGEX`, `file:PATH` or `sleep:2s`.

A service is asked from outside, through sockets of its sandbox's network, so nothing of ours lives in its tree. Asking
never waits: the target may be standing in the gate, and it is we who must let it go on.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import urllib.parse
from collections.abc import Callable

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.core.units import UnitError, parse_duration
from blackstart.core.verbs import near
from blackstart.gate import notify
from blackstart.sandbox import Sandbox

FORMS = "tcp:PORT, http:URL, log:REGEX, file:PATH or sleep:2s"
# The kinds that say how it is now, not only that it was ready once.
ASKED = ("tcp", "http")
_HEAD_BYTES_MAX = 4096


class Ready(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """kind: tcp, http, log, file or sleep; host, port, path: of a URL or file; pattern: of a log; after_s: to sleep."""

    kind: str
    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""
    pattern: str = ""
    after_s: float = 0.0


def parse_ready(text: str, cwd: str) -> Ready:
    """Read a `--ready`; raises BlackstartError that says what is wrong."""
    kind, _, rest = text.partition(":")
    reader = _READERS.get(kind)
    if reader is None or not rest:
        step = f"write tcp:{text}, or one of the others: {FORMS}" if text.isdecimal() else f"write {FORMS}"
        lacks = near(kind, _READERS) if reader is None else f": there is nothing after {kind}:"
        raise BlackstartError(f"--ready {text!r} cannot be read{lacks}", next_step=step)
    try:
        return reader(rest, cwd)
    except (ValueError, re.error, UnitError) as error:
        why = error.what if isinstance(error, UnitError) else error
        raise BlackstartError(f"--ready {text!r} cannot be read: {why}", next_step=f"write {FORMS}") from None


def _tcp(text: str, _: str) -> Ready:
    host, _, port = text.rpartition(":")
    number = int(port) if port.isdecimal() else 0
    if not 0 < number < 65536:
        raise ValueError(f"{port!r} is no port")
    return Ready(kind="tcp", host=host.strip("[]") or "127.0.0.1", port=number)


def _http(text: str, cwd: str) -> Ready:
    if text.startswith("https:"):
        raise ValueError("https is not asked; give another address, or tcp:PORT")
    whole = text if text.startswith("http:") else f"http://{text.lstrip('/')}"
    if re.match(r"http://\d+(?:[/?]|$)", whole):  # a port alone
        whole = whole.replace("http://", "http://127.0.0.1:", 1)
    parts = urllib.parse.urlsplit(whole)
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return Ready(kind="http", host=parts.hostname or "127.0.0.1", port=parts.port or 80, path=path)


def _log(text: str, _: str) -> Ready:
    re.compile(text)
    return Ready(kind="log", pattern=text)


def _file(text: str, cwd: str) -> Ready:
    return Ready(kind="file", path=os.path.normpath(os.path.join(cwd, text)))


def _sleep(text: str, _: str) -> Ready:
    return Ready(kind="sleep", after_s=parse_duration(text, bare="s"))


_READERS: dict[str, Callable[[str, str], Ready]] = {
    "tcp": _tcp, "http": _http, "log": _log, "file": _file, "sleep": _sleep,
}  # fmt: skip


class Asker:
    """Asks one start of a service whether it is ready.

    said: all that it wrote so far; elapsed_s: since its start.
    """

    def __init__(self, ready: Ready, sandbox: Sandbox, said: Callable[[], bytes], elapsed_s: Callable[[], float]):
        self._ready = ready
        self._sandbox = sandbox
        self._said = said
        self._elapsed_s = elapsed_s
        self._asked: socket.socket | None = None
        self._answer = b""

    def ask(self) -> bool:
        """Whether it is ready now, as far as that can be told without waiting."""
        ready = self._ready
        if ready.kind == "sleep":
            return self._elapsed_s() >= ready.after_s
        if ready.kind == "log":
            return re.search(ready.pattern, self._said().decode("utf-8", "replace"), re.MULTILINE) is not None
        if ready.kind == "file":
            return self._stands(ready.path)
        if ready.kind == "tcp":
            connected = self._connect()
            if connected is not None:
                connected.close()
            return connected is not None
        return self._http()

    def close(self) -> None:
        """Give up what was asked and not answered."""
        if self._asked is not None:
            self._asked.close()
        self._asked, self._answer = None, b""

    def _stands(self, path: str) -> bool:
        try:
            os.close(notify.open_inside(self._sandbox.pid1, path, os.O_PATH))
        except (OSError, ValueError):
            return False
        return True

    def _connect(self) -> socket.socket | None:
        """A connection to it; over loopback the kernel answers at once."""
        hosts = ("127.0.0.1", "::1") if self._ready.host in ("127.0.0.1", "localhost") else (self._ready.host,)
        for host in hosts:
            made = self._sandbox.new_socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            made.settimeout(0.2)
            try:
                made.connect((host, self._ready.port))
            except OSError:
                made.close()
                continue
            made.setblocking(False)
            return made
        return None

    def _http(self) -> bool:
        """Send a request, or look for the answer to the last one; any status below 400 is ready."""
        if self._asked is None:
            self._asked = self._connect()
            if self._asked is not None:
                host = f"{self._ready.host}:{self._ready.port}"
                request = f"GET {self._ready.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                with contextlib.suppress(OSError):
                    self._asked.send(request.encode())
            return False
        try:
            data = self._asked.recv(_HEAD_BYTES_MAX)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._answer += data
        if data and b"\r\n" not in self._answer:
            return False
        status = re.match(rb"HTTP/\d\.\d ([1-3])\d\d", self._answer)
        self.close()
        return status is not None
