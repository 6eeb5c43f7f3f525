"""The disk of a power-cut finding, written out: a reproducer that needs no blackstart.

The run is recorded anew, here and now, so that it works in another clone; then the start state is copied and the crash
state is built into the copy.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from blackstart.campaign.anew import observed, plan_of
from blackstart.campaign.campaign import Campaign
from blackstart.core.errors import BlackstartError
from blackstart.core.options import Options
from blackstart.oracles.power import in_words
from blackstart.report.progress import Progress
from blackstart.sandbox import Layout, Zygote
from blackstart.sandbox.copying import Copier, TooMuch, copy_tree
from blackstart.trials.power import disk_of

DISK_MAX_BYTES = 1 << 30


def disk(
    finding: Mapping[str, Any], options: Options, place: str, progress: Progress, host: Mapping[str, str] = os.environ
) -> list[str]:
    """Write the disk of a finding below the new directory `place`; what it is, in lines."""
    plan = plan_of(finding)
    if plan.kind != "power":
        name = str(finding.get("id", ""))
        raise BlackstartError(
            "only a finding of a power cut has a disk", where=name, next_step=f"blackstart replay {name}"
        )
    if os.path.lexists(place) and (not os.path.isdir(place) or os.listdir(place)):
        raise BlackstartError("the directory is not empty", where=place, next_step="name one that does not exist")
    campaign = Campaign(msgspec.structs.replace(options, only=("power",)), progress)
    with observed(campaign, host) as seen, disk_of(plan, seen.bench) as (image, cuts):
        for one in cuts:
            if not one.fired:
                raise BlackstartError(f"the disk cannot be built: {one.note}", next_step="run blackstart anew")
        copier = Copier(limit_bytes=DISK_MAX_BYTES, from_image=True)
        try:
            roots = write_state(seen.zygote, seen.layout, image, place, copier)
        except TooMuch as error:
            raise BlackstartError(
                f"the state is too large to be written out: {error}", where=place, next_step="blackstart replay"
            ) from None
        told = [f"{root} as the cut left it: {target}" for root, target in roots]
        words = [line for one in cuts if one.cut is not None for line in in_words(one.cut)]
        return [*told, *words, _restart(place, str(seen.bench.command.cwd), shlex.join(options.command))]


def _restart(place: str, cwd: str, command: str) -> str:
    """How to start the program on the disk, and not on what the machine has."""
    here = os.path.join(place, cwd.strip("/"))
    if os.path.isdir(here):
        return f"restart on it: cd {shlex.quote(here)} && {command}"
    return f"restart, once this stands in its place: cd {shlex.quote(cwd)} && {command}"


def write_state(zygote: Zygote, layout: Layout, image: str, place: str, copier: Copier) -> list[tuple[str, str]]:
    """Copy the state directories of an image below `place`, by their paths; (path on the machine, where it is now)."""
    found = []
    for root in (*layout.copies, *layout.made, *_beside(zygote, layout, image)):
        target = os.path.join(place, root.strip("/"))
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            source = zygote.path(image, root) if root in layout.copies else None
            if source is not None:
                copy_tree(source, target, root, copier)
            elif root not in layout.copies:
                _write_made(zygote, image, root, target, copier)
        except OSError as error:
            what = f"the state cannot be written: {error.strerror}"
            raise BlackstartError(what, where=target, next_step="make room, or name another place") from error
        if os.path.lexists(target):
            found.append((root, target))
    return found


def _beside(zygote: Zygote, layout: Layout, image: str) -> list[str]:
    """The files that stand beside the state in an upper layer, as a journal does when the power goes."""
    layered = {os.path.dirname(path) for path in layout.made}
    entries = zygote.walk(image) if layered else ()
    files = (entry.path for entry in entries if entry.kind == "file" and entry.path not in layout.made)
    return [path for path in files if os.path.dirname(path) in layered]


def _write_made(zygote: Zygote, image: str, path: str, target: str, copier: Copier) -> None:
    """What stands in an upper layer over a directory that is too large to be copied; nothing where it is not there."""
    try:
        outer = zygote.open_in(image, os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        inner = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY)
        try:
            copier.one(outer, inner, os.path.basename(path), path)
        finally:
            os.close(inner)
    finally:
        os.close(outer)
