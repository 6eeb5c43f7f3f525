"""The zygote as its owner sees it: images by name, and sandboxes over them.

The process behind it is described in `helper`. Every request has a deadline; a helper that does not answer is
ended, and with it everything it made.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import msgspec

from blackstart.core.errors import SandboxLimit, SandboxUnavailable
from blackstart.sandbox import kernel, outside, wire
from blackstart.sandbox.layout import LIMIT_BYTES, Apart, Captured, Change, Entry, Layout
from blackstart.sandbox.machine import LANDLOCK, NAMESPACES
from blackstart.sandbox.outside import Places
from blackstart.sandbox.sandbox import Sandbox
from blackstart.sandbox.streams import Streams

HELLO_LIMIT_S = 30.0
ANSWER_LIMIT_S = 120.0
CLOSE_LIMIT_S = 60.0
_ABOUT_FILES = frozenset(("locate", "open", "walk", "remove", "put", "write", "chmod", "changes", "free", "room"))
_NO_ROOM = (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT)
_BOOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "boot.py")


class Zygote:
    """A context manager; construct it where the process stays alive: the helper ends with the thread that made it."""

    def __init__(
        self,
        layout: Layout,
        *,
        isolation: str = NAMESPACES,
        limit_bytes: int = LIMIT_BYTES,
        work_area: str = "",
        plan: dict[str, Any] | None = None,
    ) -> None:
        """isolation: as `choose` gives it; limit_bytes: for each image; work_area: for landlock, a private directory
        of the host that the helper may remove at its end (default: a new one among the temporary files); plan: that of
        the zygote whose images it is to adopt, as the machine's tree may be another one by now."""
        assert isolation in (NAMESPACES, LANDLOCK), isolation
        self.layout = layout
        self.places = Places((), "")
        self.plan: dict[str, Any] = plan or {}
        self._work_area = work_area
        self.isolation = isolation
        self.limit_bytes = limit_bytes
        self.streams = Streams()
        self._names: list[str] = []
        self._ready: dict[str, list[Sandbox]] = {}
        self.all_users = os.geteuid() == 0 and _mapped_ids() > 1
        self._channel, theirs = socket.socketpair()
        try:
            self._process = _spawn(theirs)
        finally:
            theirs.close()
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        given = msgspec.to_builtins(self.layout)
        layout = {"copies": [], "overlays": [], "omit": [], "opened": [], "hostname": "blackstart"} | given
        given_area = self._work_area
        if self.isolation == LANDLOCK:
            layout["nominal"], layout["copies"] = layout["copies"], list(outside.copies(self.layout))
            # Made by the helper, which removes it: it may have to outlive this process for that.
            self._work_area = self._work_area or f"{tempfile.gettempdir()}/blackstart-{os.urandom(8).hex()}"
        setup = {
            "layout": layout,
            "plan": self.plan,
            "limit_bytes": self.limit_bytes,
            "isolation": self.isolation,
            "work_area": self._work_area,
            "area_is_there": bool(given_area),
            "all_users": self.all_users,
        }
        wire.send(self._channel, setup)
        answer, _ = self._receive(HELLO_LIMIT_S)
        if answer.get("map"):
            self._write_maps()
            wire.send(self._channel, {})
            answer, _ = self._receive(HELLO_LIMIT_S)
        if "error" in answer:
            raise _translated(answer, "the sandbox cannot be made on this machine")
        self.hidden: dict[str, str] = dict(answer["hidden"])
        self.plan = answer.get("plan", {})
        self._layers: tuple[str, ...] = tuple(answer["layers"])
        self.read_only = frozenset(answer["bound"])
        if self.isolation == LANDLOCK:
            self.places = Places(layout["copies"], answer["live"], self.layout.home)

    def _write_maps(self) -> None:
        """Every id that exists here exists inside under the same number."""
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/self/{name}") as own:
                lines = [line.split() for line in own]
            identity = "".join(f"{first} {first} {count}\n" for first, _, count in lines)
            kernel.write_setting(f"/proc/{self.pid}/{name}", identity.encode())

    @property
    def pid(self) -> int:
        """The helper's process id; its tree is below /proc/<pid>/root."""
        return self._process.pid

    def _receive(self, deadline_s: float) -> tuple[wire.Message, list[int]]:
        try:
            return wire.receive(self._channel, deadline_s)
        except wire.Closed:
            raise SandboxUnavailable(
                "the helper of the sandbox ended", next_step="run `blackstart doctor`; memory may be short"
            ) from None
        except wire.Late:
            self.close()
            raise SandboxLimit(
                f"the helper of the sandbox did not answer in {deadline_s:.0f} s",
                next_step="use a smaller state, or a machine with less load",
            ) from None

    def _ask(self, do: str, *descriptors: int, **arguments: Any) -> tuple[dict[str, Any], list[int]]:
        try:
            wire.send(self._channel, {"do": do, **arguments}, descriptors)
        except wire.Closed:
            raise SandboxUnavailable("the helper of the sandbox is gone") from None
        answer, received = self._receive(ANSWER_LIMIT_S)
        if "error" in answer:
            if do in _ABOUT_FILES and answer["sort"] == "system" and answer["errno"] not in _NO_ROOM:
                raise OSError(answer["errno"], answer["error"])
            raise _translated(answer, f"the sandbox could not {do}")
        return answer, received

    def capture(self, name: str) -> Captured:
        """Copy the host's state directories, as they are now, into a new image."""
        answer, _ = self._ask("capture", name=name)
        self._names.append(name)
        return msgspec.convert(answer, Captured)

    def copy(self, source: str, name: str) -> Captured:
        """A new image equal to `source`, with all a target left there."""
        answer, _ = self._ask("copy", source=source, name=name)
        self._names.append(name)
        return msgspec.convert(answer, Captured)

    def root(self, name: str) -> str:
        """Where another zygote with the same layout and plan may adopt this image from."""
        answer, _ = self._ask("directory", name=name)
        return self._from_outside(answer["path"])

    def _from_outside(self, path: str) -> str:
        return path if self.isolation == LANDLOCK else f"/proc/{self.pid}/root{path}"

    def adopt(self, name: str, root: str) -> Captured:
        """A new image equal to that of another zygote, `root` being what its `root()` gave."""
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            answer, _ = self._ask("adopt", descriptor, name=name)
        finally:
            os.close(descriptor)
        self._names.append(name)
        return msgspec.convert(answer, Captured)

    def chmod(self, name: str, path: str, mode: int) -> None:
        """Change the permission bits of one entry of an image."""
        self._ask("chmod", name=name, path=wire.text(path), mode=mode)

    def drop(self, name: str) -> None:
        """Forget an image (and the ready sandboxes over it)."""
        for sandbox in self._ready.pop(name, []):
            sandbox.close()
        self._ask("drop", name=name)
        self._names.remove(name)

    def rename(self, name: str, new: str) -> None:
        """Let an image, over which no sandbox stands any more, have another name."""
        self._ask("rename", name=name, new=new)
        self._names[self._names.index(name)] = new

    def names(self) -> tuple[str, ...]:
        """The images there are, in order of making."""
        return tuple(self._names)

    def path(self, name: str, target_path: str) -> str | None:
        """Where this path of the image can be read from outside; None if it is no part of an image.

        The image is the work of the target: never follow a link below this path; `open_in` does not.
        """
        answer, _ = self._ask("locate", name=name, path=wire.text(target_path))
        return None if answer["path"] is None else self._from_outside(answer["path"])

    def open_in(self, name: str, target_path: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor of one entry of the image; no link is followed, no FIFO waited for."""
        _, received = self._ask("open", name=name, path=wire.text(target_path), flags=flags)
        return received[0]

    def open_each(self, name: str, paths: Sequence[str], flags: int = os.O_RDONLY) -> Iterator[tuple[str, int]]:
        """Each path with what `open_in` gives for it, -1 where that fails; who takes a descriptor closes it.

        Many at a time: of ten thousand files a question each would take longer than their reading.
        """
        for first in range(0, len(paths), wire.DESCRIPTORS_MAX):
            some = paths[first : first + wire.DESCRIPTORS_MAX]
            answer, received = self._ask("open_each", name=name, paths=[wire.text(path) for path in some], flags=flags)
            try:
                for path, is_open in zip(some, answer["opened"], strict=True):
                    yield path, received.pop(0) if is_open else -1
            finally:
                for descriptor in received:
                    os.close(descriptor)

    def read(self, name: str, target_path: str, limit_bytes: int = 64 << 20) -> bytes:
        """The bytes of a regular file of the image, at most `limit_bytes`."""
        with os.fdopen(self.open_in(name, target_path), "rb") as file:
            return file.read(limit_bytes)

    def walk(self, name: str) -> Iterator[Entry]:
        """All entries of the image's copies and fresh directories, by target path, sorted within each directory."""
        answer, _ = self._ask("walk", name=name)
        yield from map(_entry, answer["rows"])

    def apart(self, name: str) -> Apart | None:
        """How this image differs from the one that all of its family stem from; None where it has to be listed."""
        answer, _ = self._ask("apart", name=name)
        if not answer["first"]:
            return None
        rows = [_entry(row) for row in answer["rows"]]
        return Apart(first=answer["first"], family=answer["family"], entries=rows, gone=answer["gone"])

    def remove(self, name: str, path: str) -> None:
        """Remove one entry of an image, a directory with all below it; nothing if it is not there."""
        with contextlib.suppress(FileNotFoundError):
            self._ask("remove", name=name, path=wire.text(path))

    def put(self, name: str, path: str, from_name: str, *, is_new: bool = False) -> None:
        """Make one entry of an image equal to that of another image; absent there means removed here.

        is_new: it was modified just now, as if somebody had mended it: who compares times then sees that it changed.
        """
        self._ask("put", name=name, path=wire.text(path), source=from_name, is_new=is_new)

    def write(self, name: str, path: str, data: bytes, mode: int | None = None) -> None:
        """Put a regular file with these bytes into an image; without a mode it keeps the one it had, or 0644."""
        self._ask("write", name=name, path=wire.text(path), data=base64.b64encode(data).decode(), mode=mode)

    def changes(self, name: str) -> list[Change]:
        """What a target changed in overlays over this image, compared with the host."""
        answer, _ = self._ask("changes", name=name)
        return [Change(path=path, change=change, kind=kind) for path, change, kind in answer["rows"]]

    def free_bytes(self, name: str) -> int:
        """What the image can still take before the target meets a full disk that is ours."""
        answer, _ = self._ask("free", name=name)
        return int(answer["bytes"])

    def set_room(self, name: str, free_bytes: int | None = None, free_inodes: int | None = None) -> None:
        """Leave so much room on the image's disk, in bytes (a page is the smallest part) and in entries; None: plenty.

        OSError where images have no disk of their own.
        """
        self._ask("room", name=name, bytes=free_bytes, inodes=free_inodes)

    def prepare(self, image: str) -> None:
        """Build a sandbox over this image now, so that the next `sandbox(image)` finds it ready."""
        built = self._build(image)
        if self.isolation == NAMESPACES:
            built.make_spare()
        self._ready.setdefault(image, []).append(built)

    def sandbox(self, image: str) -> Sandbox:
        """A sandbox over the image in place: what the target does there stays in the image."""
        waiting = self._ready.get(image)
        return waiting.pop(0) if waiting else self._build(image)

    def _build(self, image: str) -> Sandbox:
        orders, their_orders = socket.socketpair()
        events, their_events = socket.socketpair()
        try:
            answer, _ = self._ask("sandbox", their_orders.fileno(), their_events.fileno(), name=image)
        finally:
            their_orders.close()
            their_events.close()
        return Sandbox(self, image, answer["pid"], orders, events)

    def activate(self, image: str) -> None:
        """Make this image the one that is at the place where targets run, where there is only one such place."""
        if self.isolation == LANDLOCK:
            self._ask("activate", name=image)

    def layers(self) -> tuple[str, ...]:
        """The directories that are overlays."""
        return self._layers

    def close(self) -> None:
        """End the helper; every sandbox, mount and image goes with it."""
        for waiting in self._ready.values():
            for sandbox in waiting:
                sandbox.close()
        self._ready.clear()
        self.streams.close()
        self._channel.close()
        if self.isolation == LANDLOCK:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_LIMIT_S)  # it removes the work area
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _entry(row: list[Any]) -> Entry:
    path, kind, size, mode, links, target, modified_ns = row
    return Entry(path=path, kind=kind, size=size, mode=mode, links=links, target=target, modified_ns=modified_ns)


def _mapped_ids() -> int:
    """How many user ids exist where this process lives: all of them, or those of a container."""
    with open("/proc/self/uid_map") as own:
        return sum(int(line.split()[2]) for line in own)


def _spawn(channel: socket.socket) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-I", "-S", "-X", "utf8", _BOOT, "serve", str(channel.fileno()), str(os.getpid())]
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(channel.fileno(),),
        cwd="/",
        env={},
    )


def _translated(answer: dict[str, Any], what: str) -> Exception:
    """The helper's trouble as an exception of ours."""
    sort, text = answer.get("sort"), str(answer["error"])
    if sort == "limit":
        return SandboxLimit(
            f"{what}: {text}",
            next_step="name smaller state directories with --state; larger ones become overlays",
        )
    if sort == "name":
        return KeyError(text)
    if sort == "busy":
        return SandboxUnavailable(f"{what}: {text}", next_step="run one trial at a time (-j 1)")
    if sort == "bug":
        return AssertionError(text)
    number = answer.get("errno")
    if number == errno.EEXIST:
        return FileExistsError(number, text)
    if number in _NO_ROOM:
        return SandboxLimit(f"{what}: {text}", next_step="free some memory: the state is kept there")
    return SandboxUnavailable(f"{what}: {text}", next_step="run `blackstart doctor` to see what this machine allows")
