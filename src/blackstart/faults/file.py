"""Kind `file`: a file that the target reads is missing, empty, cut short, garbage, read-only or unreadable.

The damage is ours, so it stays through the restart and the good file is put back at the end. Read-only and unreadable
bite as root too: those starts run without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.randomness import Seed
from blackstart.core.reading import FileState
from blackstart.core.rule import parse
from blackstart.core.trace import LOOKING, OPENING, Operation
from blackstart.core.units import plural
from blackstart.faults.kill import crash_before
from blackstart.faults.scene import RESTART, RUN, Candidate, Scene, during
from blackstart.gate import Match, Tamper
from blackstart.targets import Conducted

CAPABILITIES = ("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH")
DAMAGES = ("empty", "truncated", "garbage", "missing", "unreadable", "read-only")
GARBAGE_BYTES = 1 << 16
# Calls that look at a path, or take its content: a damaged file counts as met when one of them was seen on it. Whoever
# goes on reading at its early end is seen to do so by their number.
_READING = {"read", "pread64", "readv", "preadv", "preadv2"}
_MEETING = sorted(OPENING | LOOKING | _READING | {"rename", "renameat", "renameat2", "unlink", "unlinkat"})
_ROLES = ("state", "config", "cache", "output")


class Damage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="file", tag_field="fault"):
    """One file is damaged before the target starts: path is masked, damage one of DAMAGES.

    is_input: the target only reads it, so that the good file is put back by a person, with the time of that moment;
    its own files come from a backup, with the time that they had.
    """

    kind: ClassVar[str] = "file"
    path: str
    damage: str
    phase: str = RUN
    is_input: bool = False

    @property
    def lasting(self) -> bool:
        """Contents stay damaged until the good file is put back; permissions too."""
        return True

    def __str__(self) -> str:
        return f"{self.path} is {self.damage}{during(self.phase)}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        real = scene.standing(self.path)
        dropped = CAPABILITIES if self.damage in ("unreadable", "read-only") else ()
        try:
            scene.drop_capabilities.extend(dropped)
            self._damage(scene, real)
            with scene.armed(*met(self.path)):
                yield
        finally:
            for capability in dropped:
                if capability in scene.drop_capabilities:
                    scene.drop_capabilities.remove(capability)
            scene.zygote.put(scene.image, real, scene.start, is_new=self.is_input)

    def _damage(self, scene: Scene, real: str) -> None:
        zygote, image = scene.zygote, scene.image
        if self.damage == "missing":
            zygote.remove(image, real)
        elif self.damage in ("unreadable", "read-only"):
            zygote.chmod(image, real, 0o000 if self.damage == "unreadable" else 0o444)
        else:
            zygote.write(image, real, spoil(zygote.read(image, real), self.damage, scene.seed))

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        return account_of_meeting(self, conducted, first_tamper, len(met(self.path)))


def spoil(content: bytes, damage: str, seed: int) -> bytes:
    """The damaged content: empty; the first half (a write cut short); random bytes of the same length."""
    if damage == "empty":
        return b""
    if damage == "truncated":
        return content[: len(content) // 2]
    assert damage == "garbage", damage
    block = Seed(seed).source("garbage").randbytes(max(16, min(len(content), GARBAGE_BYTES)))
    return (block * (len(content) // len(block) + 1))[: max(16, len(content))]


def met(path: str) -> list[Tamper]:
    """Orders that change nothing and count how often the target turns to this path."""
    return [Tamper(match=Match(call=call, path=path, exact=True), rule=parse("off")) for call in _MEETING]


def account_of_meeting(fault: Damage, conducted: Conducted, first_tamper: int, count: int) -> Injected:
    """Fired means: the target turned to the damaged file after the damage."""
    hits = sum(conducted.hits[first_tamper : first_tamper + count])
    note = f"the target turned to it {plural(hits, 'time')} after the damage"
    return Injected(fault=str(fault), kind=fault.kind, hits=hits, fired=min(hits, 1), note=note)


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Each damage to each state, config, cache or output file that stands there at the start of this run."""
    standing = {path: versions[0] for path, versions in clean.versions.items() if versions and versions[0]}
    used = {operation.masked for operation in clean.trace}
    written = {operation.masked for operation in clean.trace if _writes(operation)}
    for path, state in sorted(standing.items()):
        role = calibration.roles.get(path, "")
        if role not in _ROLES or path not in used or state is None or state.kind != "file":
            continue
        for order, damage in enumerate(_damages(state, path in written)):
            yield Candidate(
                fault=Damage(path=path, damage=damage, is_input=role == "config"),
                start=clean.start,
                rank=(order + _ROLES.index(role) + 1, 3),
                cause=("file", damage, path),
                path=path,
            )
        crash = crash_before(path, clean)
        if crash:
            yield Candidate(
                fault=Damage(path=path, damage="truncated", phase=RESTART),
                crash=crash,
                start=clean.start,
                rank=(7, 3),
                cause=("file during recovery", path),
                path=path,
            )


def _damages(state: FileState, is_written: bool) -> tuple[str, ...]:
    """Those that make a difference: an empty file cannot be emptied, one that is never written may be read-only."""
    hopeless = {"empty", "truncated"} if state.size <= 1 else set()
    if not is_written or not state.mode & 0o222:
        hopeless.add("read-only")
    if not state.mode & 0o444:
        hopeless.add("unreadable")
    return tuple(damage for damage in DAMAGES if damage not in hopeless)


def _writes(operation: Operation) -> bool:
    """Whether write permission on this very file is asked for (replacing it asks its directory)."""
    is_open = operation.call in OPENING and (operation.call == "creat" or operation.flags & os.O_ACCMODE)
    return bool(is_open) or operation.call == "truncate"
