"""What the sandbox refuses although the system would not: findings about it would be false.

Four artefacts are known. Where only one user id exists inside, nothing below a directory of another owner can be
copied up (EOVERFLOW), although the user may write there. A directory of the host cannot be renamed on an overlay
(EXDEV). What the kernel cannot overlay is hidden. A large file beside a mount can only be read (EROFS). All can be
told from the host's tree and the paths that the target tried to change; a fifth, a full image, shows in the image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from blackstart.sandbox.plan import FRESH, below

if TYPE_CHECKING:
    from blackstart.sandbox.zygote import Zygote

FREE_BYTES_MIN = 1 << 20


def trouble(zygote: Zygote, image: str, changed: Iterable[str], renamed: Iterable[str]) -> str:
    """One sentence for each artefact that the target met; '' if none."""
    found = []
    if image in zygote.names() and zygote.free_bytes(image) < FREE_BYTES_MIN:
        found.append("the sandbox's memory for this state is full (the target may have seen ENOSPC)")
    for path in dict.fromkeys(changed):
        why = _unwritable(zygote, path)
        if why:
            found.append(why)
    for path in dict.fromkeys(renamed):
        if _layer(zygote, path) and os.path.isdir(path) and not os.path.islink(path):
            found.append(f"{path} cannot be renamed on an overlay (EXDEV): name it or its parent with --state")
    return "; ".join(found[:5])


def _layer(zygote: Zygote, path: str) -> str:
    """The overlay that holds this path; '' if it lies in a copy or a fresh directory."""
    if below(path, zygote.layout.copies) or (below(path, FRESH) and not below(path, zygote.layout.overlays)):
        return ""
    return max((p for p in zygote.layers() if below(path, [p])), key=len, default="")


def _unwritable(zygote: Zygote, path: str) -> str:
    for hidden, why in zygote.hidden.items():
        if below(path, [hidden]) and os.access(hidden, os.W_OK | os.X_OK):
            return f"{path} is not visible inside: {why}"
    if path in zygote.read_only and os.access(path, os.W_OK):
        return f"{path} can only be read inside (EROFS: it lies beside a mount): name its directory with --state"
    layer = _layer(zygote, path)
    if not layer or zygote.all_users:
        return ""
    ids = (os.geteuid(), os.getegid())
    place = path if os.path.lexists(path) else os.path.dirname(path)
    if not os.access(place, os.W_OK, follow_symlinks=False):
        return ""  # refused on the host too
    while below(place, [layer]) and place != layer:
        try:
            info = os.lstat(place)
        except OSError:
            return ""
        if (info.st_uid, info.st_gid) != ids:
            return f"{path} cannot be written inside (EOVERFLOW: {place} has another owner): name it with --state"
        place = os.path.dirname(place)
    return ""
