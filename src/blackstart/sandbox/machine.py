"""What this machine allows, what each absence costs, and which isolation follows from it.

Nothing is inferred from version numbers or settings: everything is tried (in `probing`), and settings are read only
to say what would change the answer.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import subprocess
import sys

import msgspec

from blackstart.core.errors import SandboxUnavailable
from blackstart.sandbox import groups
from blackstart.sandbox.landlock import VERSION_MIN

NAMESPACES, LANDLOCK = "namespaces", "landlock"
SWITCH = "BLACKSTART_ISOLATION"
PROBE_LIMIT_S = 60.0
_BOOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "boot.py")

_COSTS = {
    "user namespace": "no isolation by namespaces; without it a copy of the state under Landlock, one trial at a time, "
    "and neither power cuts nor full disks",
    "overlay": "no isolation by namespaces: the rest of the tree could not be shown without its changes leaving",
    "pid namespace": "no isolation by namespaces: a killed program could leave processes",
    "network namespace": "no isolation by namespaces: trials would share the machine's ports",
    "other namespaces": "no isolation by namespaces: shared memory and host name would be the machine's",
    "attributes in memory": "extended attributes of state files are lost (Linux 6.6 has them)",
    "listener": "no gate, and so no run: system calls can be neither seen nor answered",
    "listener waits killably": "counts of calls may shift where signals interrupt them (Linux 5.19 has it)",
    "listener wakes synchronously": "each intercepted call costs about twice as much (Linux 6.6 has it)",
    "memory of children": "paths and data of calls cannot be read: no gate, and so no run",
    "landlock": "no fallback where namespaces are refused (Linux 6.12 has all that it needs)",
    "strace": "the gate cannot be compared with it in tests; runs do not need it",
    "cgroup": "limits hold for each process, not for the tree; neither pressure nor a slow processor",
}


class Ability(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was tried. detail: what the kernel said; cost: what its absence costs ("" if it is there)."""

    name: str
    available: bool
    detail: str = ""
    cost: str = ""


class Machine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What this machine allows. hints: settings that forbid something, each with the command that would change it."""

    kernel: str
    architecture: str
    user: int
    abilities: tuple[Ability, ...]
    landlock_abi: int = 0
    hints: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Whether that ability is there."""
        return any(a.available for a in self.abilities if a.name == name)

    @property
    def namespaces(self) -> bool:
        """Whether the full isolation works."""
        needed = ("user namespace", "overlay", "pid namespace", "network namespace", "other namespaces")
        return all(self.has(name) for name in needed)

    @property
    def landlock(self) -> bool:
        """Whether the fallback works."""
        return self.landlock_abi >= VERSION_MIN


def probe() -> Machine:
    """Try everything; takes some hundredths of a second."""
    answers = _answers()
    listener = answers["listener"]
    abi = int(answers["landlock"][1:]) if answers["landlock"].startswith("+") else 0
    abilities = [
        _ability(name, answers[name]) for name in _COSTS if name in answers and name not in ("listener", "landlock")
    ]
    abilities += [
        _ability("listener", "" if listener.startswith("+") else listener),
        _ability("listener waits killably", "" if "killable" in listener else "not known to this kernel"),
        _ability("listener wakes synchronously", "" if "synchronous" in listener else "not known to this kernel"),
        _ability("landlock", "" if abi >= VERSION_MIN else _landlock_refusal(abi, answers["landlock"])),
        _ability("strace", "" if shutil.which("strace") else "not installed"),
        _ability("cgroup", next((p.refusal for p in map(groups.place, (groups.MEMORY, groups.CPU)) if p.refusal), "")),
    ]
    return Machine(
        kernel=platform.release(),
        architecture=platform.machine(),
        user=os.geteuid(),
        abilities=tuple(abilities),
        landlock_abi=abi,
        hints=tuple(_hints()),
    )


def _answers() -> dict[str, str]:
    arguments = [sys.executable, "-I", "-S", "-X", "utf8", _BOOT, "probe"]
    try:
        ended = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_LIMIT_S, check=False
        )
        answers: dict[str, str] = json.loads(ended.stdout)
    except (PermissionError, FileNotFoundError) as error:
        raise SandboxUnavailable(
            f"this machine could not be examined: {error}",
            next_step=f"user {os.geteuid()} must be able to execute the Python that runs blackstart: install it where "
            "this user may go",
        ) from None
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise SandboxUnavailable(
            f"this machine could not be examined: {error}", next_step="look whether memory or processes are short"
        ) from None
    return answers


def what_to_do(refusal: str) -> str:
    """About a refused filter of system calls. EBUSY: a process has one listener at most (seccomp(2))."""
    if f"[Errno {errno.EBUSY}]" in refusal:
        return "start it from outside: its own calls are watched already, by blackstart itself or by another program"
    return "a container may need another seccomp profile: --security-opt seccomp=unconfined"


def _ability(name: str, refusal: str) -> Ability:
    return Ability(name=name, available=not refusal, detail=refusal, cost=_COSTS[name] if refusal else "")


def _landlock_refusal(abi: int, answer: str) -> str:
    return f"version {abi}, needs {VERSION_MIN}" if abi else answer


def _hints() -> list[str]:
    settings = (
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    )
    found = []
    for name, bad, command in settings:
        try:
            with open(f"/proc/sys/{name}") as file:
                value = file.read().strip()
        except OSError:
            continue
        if value == bad:
            found.append(f"{name.replace('/', '.')} is {value}: as root, `{command}`")
    return found


def choose(machine: Machine) -> str:
    """The strongest isolation that works; BLACKSTART_ISOLATION asks for one by name."""
    asked = os.environ.get(SWITCH, "")
    if asked not in ("", NAMESPACES, LANDLOCK):
        raise SandboxUnavailable(
            f"there is no isolation {asked!r}",
            where=SWITCH,
            next_step=f"set it to {NAMESPACES} or {LANDLOCK}, or unset it",
        )
    for ability in machine.abilities:
        if ability.name == "listener" and not ability.available:
            raise SandboxUnavailable(
                f"this machine refuses the filter of system calls: {ability.detail}",
                next_step=what_to_do(ability.detail),
            )
    if machine.namespaces and asked in ("", NAMESPACES):
        return NAMESPACES
    if machine.landlock and asked in ("", LANDLOCK):
        return LANDLOCK
    raise SandboxUnavailable(_why_none(machine, asked), next_step=_next_step(machine))


def _why_none(machine: Machine, asked: str) -> str:
    parts = []
    if asked != LANDLOCK:
        refused = [f"{a.name}: {a.detail}" for a in machine.abilities if a.cost.startswith("no isolation")]
        parts.append(f"namespaces are refused ({'; '.join(refused)})")
    if asked != NAMESPACES:
        detail = next((a.detail for a in machine.abilities if a.name == "landlock"), "")
        parts.append(f"Landlock cannot replace them ({detail})")
    return "no sandbox can be made here: " + ", and ".join(parts)


def _is_nested() -> bool:
    """Whether process 1 of this world is that of a sandbox of ours."""
    try:
        with open("/proc/1/cmdline", "rb") as file:
            return b"blackstart/sandbox/boot.py" in file.read()
    except OSError:
        return False


def _next_step(machine: Machine) -> str:
    if _is_nested():
        return "this is already a sandbox: run it outside, or test the inner program itself"
    if machine.hints:
        return machine.hints[0]
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        return "start this container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    return "run `blackstart doctor`; in a container, start it with --security-opt seccomp=unconfined"
