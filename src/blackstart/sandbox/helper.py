"""The helper, which is the zygote's process: small, single-threaded, it owns the images and forks the sandboxes.

It is a fresh interpreter without site packages (forking it costs what its memory costs) in a user and a mount
namespace of its own, where the host's tree is at /old and file systems in memory hold the images. When the process
that started it ends, it ends, and with it every sandbox, mount and image. Whatever it imports is imported before the
host's tree moves away.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import os
import select
import signal
import socket
import traceback
from typing import Any, NoReturn

from blackstart.sandbox import init, kernel, launcher, mounts, wire
from blackstart.sandbox.changes import changes
from blackstart.sandbox.copying import TooMuch
from blackstart.sandbox.images import Images
from blackstart.sandbox.plan import BOUND, HOST, Plan, Planner, mount_points, packed, unpacked, without_failures

_WORLD = kernel.NEWPID | kernel.NEWNS | kernel.NEWNET | kernel.NEWIPC | kernel.NEWUTS


# What changes the image that it names. Somebody who asks where one stands only reads there, or it is a copy.
_CHANGING = frozenset(("sandbox", "remove", "put", "write", "chmod", "room"))


class Helper:
    """Answers one request after the other; each request is a method named `_do_...`."""

    def __init__(self, channel: socket.socket, layout: dict[str, Any], plan: Plan, images: Images) -> None:
        self._channel = channel
        self._layout = layout
        self._plan = plan
        self._images = images
        self._over: dict[str, list[int]] = {}
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wakeup = reading

    def serve(self) -> None:
        """Answer requests until the other side is gone."""
        launcher.renounce()
        gc.collect()
        gc.freeze()  # a collection in a fork would touch, and so copy, every page
        gc.disable()
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._wakeup:
                    self._reap()
                else:
                    self._answer()

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def _answer(self) -> None:
        message, descriptors = wire.receive(self._channel)
        sent: list[int] = []
        if message["do"] in _CHANGING or message.get("flags", 0) & os.O_ACCMODE:
            self._images.touched(message["name"])
        try:
            answer = getattr(self, "_do_" + message["do"])(message, descriptors, sent)
        except TooMuch as error:
            answer = {"error": str(error), "sort": "limit"}
        except KeyError as error:
            answer = {"error": f"no image {error}", "sort": "name"}
        except RecursionError:
            answer = {"error": "directories are nested too deep", "sort": "limit"}
        except BlockingIOError:
            answer = {"error": "another target runs, and this isolation has room for one", "sort": "busy"}
        except OSError as error:
            answer = {"error": str(error), "errno": error.errno, "sort": "system"}
        except Exception:
            answer = {"error": traceback.format_exc(), "sort": "bug"}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        wire.send(self._channel, answer, sent)
        for descriptor in sent:
            os.close(descriptor)

    def _do_capture(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        return self._images.capture(message["name"])

    def _do_copy(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        return self._images.copy(message["source"], message["name"])

    def _do_adopt(self, message: dict[str, Any], received: list[int], _out: list[int]) -> dict[str, Any]:
        return self._images.adopt(received[0], message["name"])

    def _do_directory(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        return {"path": self._images.directory(message["name"])}

    def _do_chmod(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        self._images.chmod(message["name"], message["path"], message["mode"])
        return {}

    def _do_drop(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        over = self._over.pop(message["name"], [])
        self._images.drop(message["name"], is_empty=not any(map(_is_alive, over)))
        return {}

    def _do_locate(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        return {"path": self._images.locate(message["name"], message["path"])}

    def _do_open(self, message: dict[str, Any], _in: list[int], out: list[int]) -> dict[str, Any]:
        out.append(self._images.open(message["name"], message["path"], message["flags"]))
        return {}

    def _do_open_each(self, message: dict[str, Any], _in: list[int], out: list[int]) -> dict[str, Any]:
        opened = []
        for path in message["paths"]:
            try:
                out.append(self._images.open(message["name"], path, message["flags"]))
                opened.append(True)
            except OSError:
                opened.append(False)
        return {"opened": opened}

    def _do_walk(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        return {"rows": self._images.walk(message["name"])}

    def _do_apart(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        return self._images.apart(message["name"])

    def _do_rename(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        self._images.rename(message["name"], message["new"])
        self._over[message["new"]] = self._over.pop(message["name"], [])
        return {}

    def _do_remove(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        self._images.remove(message["name"], message["path"])
        return {}

    def _do_put(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        self._images.put(message["name"], message["path"], message["source"], is_new=message["is_new"])
        return {}

    def _do_write(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        self._images.write(message["name"], message["path"], base64.b64decode(message["data"]), message["mode"])
        return {}

    def _do_changes(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        return {"rows": changes(self._images.directory(message["name"]), self._plan)}

    def _do_free(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        return {"bytes": self._images.free_bytes(message["name"])}

    def _do_room(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        self._images.room(message["name"], message["bytes"], message["inodes"])
        return {}

    def _do_sandbox(self, message: dict[str, Any], channels: list[int], _out: list[int]) -> dict[str, Any]:
        image = self._images.directory(message["name"])
        pid = kernel.fork_into(_WORLD)
        if pid == 0:
            self._become_init(image, channels)
        self._over.setdefault(message["name"], []).append(pid)
        return {"pid": pid}

    def _become_init(self, image: str, channels: list[int]) -> NoReturn:
        try:
            kernel.die_with_parent()
            signal.set_wakeup_fd(-1)
            orders, events = (socket.socket(fileno=c) for c in channels)
            self._channel.close()
            os.close(self._wakeup)
        except BaseException:
            os._exit(1)
        init.run(orders, events, lambda: self._build(image))

    def _build(self, image: str) -> int:
        os.setsid()
        init.bring_up_loopback()
        socket.sethostname(self._layout["hostname"])
        return mounts.build(image, self._plan)


def _is_alive(child: int) -> bool:
    """Whether this child, perhaps collected already, has not ended."""
    try:
        return not os.waitpid(child, os.WNOHANG)[0]
    except ChildProcessError:
        return False


def _enter_namespaces(channel: socket.socket) -> None:
    """New user and mount namespaces; user 0 gets all ids that there are, written by the parent; others their own."""
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.NEWUSER | kernel.NEWNS)
    if user == 0:
        wire.send(channel, {"map": True})
        wire.receive(channel, 10)
    else:
        kernel.write_setting("/proc/self/setgroups", b"deny")
        kernel.write_setting("/proc/self/gid_map", f"{group} {group} 1".encode())
        kernel.write_setting("/proc/self/uid_map", f"{user} {user} 1".encode())
    # No namespaces inside namespaces: they would give the target power over cgroups and mounts of its user.
    with contextlib.suppress(OSError):
        kernel.write_setting("/proc/sys/user/max_user_namespaces", b"0")


def _stage() -> frozenset[str]:
    """Move the host's tree to /old of an empty file system in memory; returns what was mounted where."""
    points = mount_points("/proc/self/mountinfo")
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("stage", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755")
    os.chdir("/tmp")
    for name in ("old", "images", "stage", "test", "lower"):
        os.mkdir(name)
    kernel.pivot_root(".", "old")
    os.chdir("/")
    return frozenset(HOST + p for p in points)


def _work_outside(channel: socket.socket, setup: dict[str, Any]) -> NoReturn:
    """The fallback: no namespaces, and so nothing that the kernel would clean up by itself."""
    from blackstart.sandbox import workshop  # it builds on this module

    kernel.prctl(kernel.PDEATHSIG, 0)
    images, area = workshop.prepare(setup)
    shop = workshop.Workshop(channel, setup["layout"], images, area)
    try:
        wire.send(channel, {"hidden": [], "layers": [], "bound": [], "live": f"{area}/images/{workshop.LIVE}"})
        shop.serve()
    except wire.Closed:
        pass
    finally:
        shop.leave()
        os._exit(0)


def main(arguments: list[str]) -> None:
    """Entry of the helper: the descriptor of the channel, and the parent's process id."""
    channel = socket.socket(fileno=int(arguments[0]))
    try:
        os.set_inheritable(channel.fileno(), False)
        kernel.die_with_parent()
        if os.getppid() != int(arguments[1]):
            os._exit(0)
        os.setsid()
        os.umask(0)
        launcher.default_signals()
        setup, _ = wire.receive(channel, 30)
        if setup["isolation"] == "landlock":
            _work_outside(channel, setup)
        _enter_namespaces(channel)
        kernel.die_with_parent()  # a change of user may have cleared it
        points = _stage()
        plan = unpacked(setup["plan"]) if setup["plan"] else Planner(setup["layout"], points, setup["all_users"]).plan()
        given = packed(plan)
        plan = mounts.completed(plan, "/lower")
        plan = without_failures(plan, mounts.test_layers(plan, "/test"))
        images = Images("/images", setup["layout"], plan, setup["limit_bytes"])
        bound = [s.path for s in plan.mounts if s.kind == BOUND]
        layers = [s.path for s in plan.layers()]
        wire.send(channel, {"hidden": plan.hidden, "layers": layers, "bound": bound, "plan": given})
        Helper(channel, setup["layout"], plan, images).serve()
    except wire.Closed:
        pass
    except OSError as error:
        with contextlib.suppress(Exception):
            wire.send(channel, {"error": str(error), "errno": error.errno, "sort": "system"})
    except BaseException:
        with contextlib.suppress(Exception):
            wire.send(channel, {"error": traceback.format_exc(), "sort": "bug"})
    finally:
        os._exit(0)
