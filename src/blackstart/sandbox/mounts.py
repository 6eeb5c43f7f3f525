"""Builds the tree of one sandbox over an image, in a mount namespace of its own.

An image may hold what a hostile program left there, so no step follows a link inside it: every place is reached
component by component through open directories, and the mount is made on `.` of that directory.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import replace

from blackstart.sandbox import kernel
from blackstart.sandbox.plan import (
    BOUND,
    COPY,
    DIRECTORY,
    FILE,
    FRESH,
    HIDDEN,
    HOST,
    LINK,
    MASKED,
    NEW,
    NODE,
    OPENED,
    OVERLAY,
    PART,
    Plan,
    Step,
    below,
)

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_QUIET = kernel.MS_NOSUID | kernel.MS_NODEV
STAGE = "/stage"
PIDS_MAX = 16384


class Displaced(Exception):
    """The program put something else where a mount belongs."""


def furnish(image: str, plan: Plan) -> None:
    """Create the empty parts of a new image."""
    os.mkdir(f"{image}/root")
    for part in ("part", "copy", "fresh", "upper", "scratch"):
        os.mkdir(f"{image}/{part}")
    for step in (s for s in plan.mounts if s.kind == PART):
        os.mkdir(f"{image}/part/{step.index}")
        _own(f"{image}/part/{step.index}", step)
    for step in plan.made:
        _make(f"{image}/{_home_of(step, plan)}", step)
    for name in ("proc", "sys", "dev", "tmp", "run"):
        os.mkdir(f"{image}/root/{name}")
    os.chmod(f"{image}/root", plan.root_mode)
    for step in plan.layers():
        place = f"{image}/upper/{step.index}"
        os.mkdir(place)
        _own(place, step)
        os.mkdir(f"{image}/scratch/{step.index}")
    for place in plan.whiteouts:
        os.mknod(f"{image}/upper/{place}", stat.S_IFCHR, 0)
    for index, path in enumerate(FRESH):
        make_fresh(f"{image}/fresh/{index}", path)


def _home_of(step: Step, plan: Plan) -> str:
    """Where an entry stands in an image: in the root, or in the part that it lies in."""
    for index, path in enumerate(plan.parts):
        if below(step.path, [path]):
            return f"part/{index}{step.path.removeprefix(path)}"
    return f"root{step.path}"


def _make(place: str, step: Step) -> None:
    if step.kind == LINK:
        os.symlink(step.source, place)
        return
    if step.kind in (DIRECTORY, HIDDEN):
        os.mkdir(place, 0o700)
    elif step.kind == NODE:
        os.mknod(place, step.mode)
    elif step.kind == FILE:
        with open(step.source, "rb") as source, open(place, "wb") as target:
            target.write(source.read())
    _own(place, step)


def _own(place: str, step: Step) -> None:
    if (step.user, step.group) != (os.geteuid(), os.getegid()) and step.kind != HIDDEN:
        with contextlib.suppress(OSError):  # an id that does not exist here
            os.chown(place, step.user, step.group)
    os.chmod(place, stat.S_IMODE(step.mode))


def make_fresh(place: str, path: str) -> None:
    """An empty directory in the place of `path`, with what every system has there."""
    os.mkdir(place)
    user = os.geteuid()
    if path != "/run":
        os.chmod(place, 0o1777)
        return
    for inner, mode in (("lock", 0o1777), ("user", 0o755), (f"user/{user}", 0o700)):
        os.mkdir(f"{place}/{inner}")
        os.chmod(f"{place}/{inner}", mode)
    os.chmod(place, 0o755 if user == 0 else 0o555)


def test_layers(plan: Plan, workshop: str) -> dict[str, str]:
    """Try each overlay once; path -> why the kernel refused it."""
    failed: dict[str, str] = {}
    for name in ("upper", "work", "merged"):
        os.mkdir(f"{workshop}/{name}")
    for step in plan.layers():
        try:
            _mount_layer(step.source, f"{workshop}/upper", f"{workshop}/work", f"{workshop}/merged")
            kernel.unmount(f"{workshop}/merged")
        except OSError as error:
            failed[step.path] = str(error)
    return failed


def completed(plan: Plan, workshop: str) -> Plan:
    """The plan with what only this machine's mounts can tell: files of /proc to protect, and a bind mount with a
    plain name for each path that the options of a mount cannot carry."""
    steps = []
    for step in plan.mounts:
        if step.kind == OVERLAY and any(c in step.source for c in ",:\\\"'\n"):
            place = f"{workshop}/{step.index}"
            os.mkdir(place)
            kernel.mount(step.source, place, flags=kernel.MS_BIND)
            step = Step(OVERLAY, step.path, place, step.index, step.mode, step.user, step.group)
        steps.append(step)
    return replace(plan, mounts=tuple(steps), machine_files=machine_files())


def _mount_layer(lower: str, upper: str, work: str, place: str) -> None:
    options = f"lowerdir={lower},upperdir={upper},workdir={work},userxattr,xino=auto"
    kernel.mount("overlay", place, "overlay", _QUIET, options)


def build(image: str, plan: Plan) -> int:
    """Make the tree and enter it; returns a descriptor through which pids can still be advanced, or -1."""
    kernel.mount(f"{image}/root", STAGE, flags=kernel.MS_BIND)
    root = os.open(STAGE, _DIRECTORY)
    last_pid = _kernel_views(root, plan)
    for step in plan.mounts:
        _mount_step(root, image, step)
    os.fchdir(root)
    kernel.pivot_root(".", ".")
    kernel.unmount(".")
    os.chdir("/")
    os.close(root)
    return last_pid


def reach(root: int, path: str, *, make: bool = True, at: str = "") -> int:
    """Open the directory `path` below `root` without following anything; missing parts are made as on the host.

    at: what the target calls `root`.
    """
    here = os.dup(root)
    so_far = at.rstrip("/")
    for name in [p for p in path.split("/") if p]:
        so_far += "/" + name
        try:
            try:
                inner = os.open(name, _DIRECTORY, dir_fd=here)
            except FileNotFoundError:
                if not make:
                    raise
                _make_like_host(here, name, so_far)
                inner = os.open(name, _DIRECTORY, dir_fd=here)
        except NotADirectoryError:
            raise Displaced(f"{so_far} is no longer a directory") from None
        except OSError as error:
            if error.errno == 40:  # ELOOP: a link
                raise Displaced(f"{so_far} has become a link") from None
            raise
        finally:
            os.close(here)
        here = inner
    return here


def _make_like_host(parent: int, name: str, path: str) -> None:
    os.mkdir(name, 0o755, dir_fd=parent)
    try:
        info = os.lstat(HOST + path)
        os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=parent)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return  # not on the host, or an owner that this user may not give


def _mount_step(root: int, image: str, step: Step) -> None:
    if step.kind in (OPENED, BOUND):
        _mount_on_file(root, step)
        return
    here = reach(root, step.path)
    try:
        os.fchdir(here)
        if step.kind == OVERLAY:
            _mount_layer(step.source, f"{image}/upper/{step.index}", f"{image}/scratch/{step.index}", ".")
        elif step.kind == COPY:
            kernel.mount(f"{image}/copy/{step.index}", ".", flags=kernel.MS_BIND)
        elif step.kind == PART:
            kernel.mount(f"{image}/part/{step.index}", ".", flags=kernel.MS_BIND)
        elif step.kind == NEW:
            kernel.mount(f"{image}/fresh/{step.index}", ".", flags=kernel.MS_BIND)
        elif step.kind == MASKED:
            kernel.mount("masked", ".", "tmpfs", _QUIET | kernel.MS_RDONLY, "size=4k,mode=555")
    finally:
        os.close(here)


def _mount_on_file(root: int, step: Step) -> None:
    parent = reach(root, os.path.dirname(step.path))
    name = os.path.basename(step.path)
    try:
        os.fchdir(parent)
        is_directory = os.path.isdir(step.source)
        try:
            if stat.S_ISLNK(os.lstat(name).st_mode):
                raise Displaced(f"{step.path} has become a link")
        except FileNotFoundError:
            if is_directory:
                os.mkdir(name)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        kernel.mount(step.source, name, flags=kernel.MS_BIND)
        kernel.make_read_only(name)  # a socket or device can be used all the same; its inode cannot be changed
    finally:
        os.close(parent)


def _kernel_views(root: int, plan: Plan) -> int:
    """/proc, /sys and /dev of the sandbox's own namespaces."""
    os.fchdir(root)
    kernel.mount("proc", "proc", "proc", _QUIET | kernel.MS_NOEXEC)
    last_pid = -1
    try:
        last_pid = os.open("proc/sys/kernel/ns_last_pid", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        last_pid = -1
    _limit_processes()
    _protect_proc(plan.machine_files)
    try:
        kernel.mount("sysfs", "sys", "sysfs", _QUIET | kernel.MS_NOEXEC | kernel.MS_RDONLY)
    except OSError:
        os.chmod("sys", 0o555)  # an empty /sys: some containers refuse a new view
    _devices(root)
    return last_pid


def _limit_processes() -> None:
    """Leave the machine enough process ids whatever the target does.

    Since Linux 6.14 each pid namespace has a limit of its own; before, this file is the machine's: not to be touched.
    """
    release = os.uname().release.partition("-")[0].split(".")[:2]
    if [int("".join(filter(str.isdigit, part)) or 0) for part in release] >= [6, 14]:
        with contextlib.suppress(OSError):
            kernel.write_setting("proc/sys/kernel/pid_max", str(PIDS_MAX).encode())


def machine_files() -> tuple[str, ...]:
    """What of /proc is not about processes and could be written: it is the machine's, and the kernel asks only for
    user 0."""
    found = []
    with os.scandir(f"{HOST}/proc") as entries:
        for entry in entries:
            if not entry.name.isdecimal() and not entry.is_symlink():
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode) or info.st_mode & 0o222:
                    found.append(entry.name)
    return tuple(found)


def _protect_proc(names: tuple[str, ...]) -> None:
    for name in names:
        place = f"proc/{name}"
        try:
            kernel.mount(place, place, flags=kernel.MS_BIND)
            kernel.make_read_only(place)
        except FileNotFoundError:
            continue  # the host shows it, the new view does not


def _devices(root: int) -> None:
    kernel.mount("dev", "dev", "tmpfs", kernel.MS_NOSUID | kernel.MS_NOEXEC, "size=64k,mode=755")
    dev = os.open("dev", _DIRECTORY, dir_fd=root)
    os.fchdir(dev)
    os.close(dev)
    for name in _DEVICES:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        kernel.mount(f"{HOST}/dev/{name}", name, flags=kernel.MS_BIND)
        kernel.make_read_only(name)  # writing to a device goes on; changing its inode does not
    for target, name in (
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ):
        os.symlink(target, name)
    for name in ("shm", "pts", "mqueue"):
        os.mkdir(name)
    kernel.mount("devpts", "pts", "devpts", kernel.MS_NOSUID | kernel.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    kernel.mount("mqueue", "mqueue", "mqueue", _QUIET | kernel.MS_NOEXEC)
    os.chmod(".", 0o755 if os.geteuid() == 0 else 0o555)
