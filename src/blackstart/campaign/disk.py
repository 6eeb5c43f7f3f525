"""The disk of a power-cut finding, written out: a reproducer that needs no blackstart.

The run is recorded anew, here and now, so that it works in another clone; then the start state is copied and the crash
state is built into the copy.
"""

from __future__ import annotations

import os
import shlex
import tarfile
import tempfile
from collections.abc import Mapping
from typing import Any

import msgspec

from blackstart.campaign.campaign import Campaign
from blackstart.campaign.replay import plan_of
from blackstart.core.errors import BlackstartError
from blackstart.core.options import Options
from blackstart.oracles.power import in_words
from blackstart.report.progress import Progress
from blackstart.sandbox import choose, probe
from blackstart.sandbox.copying import Copier, copy_tree
from blackstart.trials.power import disk_of

README = "README.txt"
DISK_MAX_BYTES = 1 << 30


def disk(
    finding: Mapping[str, Any], options: Options, place: str, progress: Progress, host: Mapping[str, str] = os.environ
) -> list[str]:
    """Write the disk of a finding below the new directory `place`; what it is, in lines."""
    plan = plan_of(finding)
    if plan.kind != "power":
        raise BlackstartError(
            "only a finding of a power cut has a disk", where=str(finding.get("id", "")), next_step="blackstart replay"
        )
    if os.path.lexists(place) and (not os.path.isdir(place) or os.listdir(place)):
        raise BlackstartError("the directory is not empty", where=place, next_step="name one that does not exist")
    campaign = Campaign(msgspec.structs.replace(options, only=("power",)), progress)
    isolation = options.isolation or choose(probe())
    seen = campaign.observe(isolation, (), host)
    try:
        with disk_of(plan, seen.bench) as (image, cuts):
            for one in cuts:
                if not one.fired:
                    raise BlackstartError(f"the disk cannot be built: {one.note}", next_step="run blackstart anew")
            told = []
            for root in seen.layout.copies:
                source, target = seen.zygote.path(image, root), os.path.join(place, root.strip("/"))
                assert source is not None
                os.makedirs(os.path.dirname(target), exist_ok=True)
                copy_tree(source, target, root, Copier(limit_bytes=DISK_MAX_BYTES, from_image=True))
                told.append(f"{root} as the cut left it: {target}")
        words = [line for one in cuts if one.cut is not None for line in in_words(one.cut)]
        command = shlex.join(options.command)
        return [*told, *words, f"restart: cd {seen.bench.command.cwd} && {command}"]
    finally:
        seen.zygote.close()


def export(finding: Mapping[str, Any], options: Options, file: str, progress: Progress) -> None:
    """The disk, the restart command and a README as a tar archive."""
    with tempfile.TemporaryDirectory(prefix="blackstart-export-") as work:
        name = str(finding.get("id", "finding"))
        lines = disk(finding, options, os.path.join(work, "disk"), progress)
        evidence = [str(line) for line in finding.get("evidence", ())]
        text = [f"{name}: {finding.get('consequence', '')}, {finding.get('fault', '')}", "", *evidence, ""]
        text += ["The disk as the power cut left it lies in disk/, by its paths on the machine.", *lines[-1:], ""]
        text += [f"What to do: {finding.get('advice', '')}", ""]
        with open(os.path.join(work, README), "w", encoding="utf-8", errors="surrogateescape") as readme:
            readme.write("\n".join(text))
        with tarfile.open(file, "w:gz") as archive:
            for entry in (README, "disk"):
                archive.add(os.path.join(work, entry), arcname=f"{name}/{entry}")
