"""What identifies a cause across runs, edits and machines.

No line number, no absolute path, no errno, no hit count: twenty lines inserted above, another working directory or one
write more must not change it. The prefix is the version of this recipe: fingerprints of different versions are
never compared.
"""

from __future__ import annotations

import hashlib
import re

VERSION = 1

_LINE = re.compile(r":\d+$")
_ADDRESS = re.compile(r"\+?0x[0-9a-f]+$")
# At the last colon that stands alone: two of them are a part of a name, as in `TF2::commit()`.
_PARTED = re.compile(r"(.*)(?<!:):(?!:)(.*)", re.DOTALL)
_OURS = ("<frozen ", "<string>", "/lib/python", "/usr/lib/", "/site-packages/", "/dist-packages/")


def fingerprint(*parts: str) -> str:
    """`1-` and twelve hexadecimal digits over the parts of a cause."""
    text = "\0".join(parts).encode("utf-8", "backslashreplace")
    return f"{VERSION}-{hashlib.sha256(text).hexdigest()[:12]}"


def context(site: tuple[str, ...]) -> str:
    """`function (file)` of the innermost frame that is the program's own, else of the innermost; `` if unknown.

    Frames are `file:function:line`, innermost first. Of the file only its name counts.
    """
    frames = [_frame(frame) for frame in site if frame]
    own = [(file, function) for file, function in frames if not any(part in file for part in _OURS)]
    chosen = (own or frames)[:1]
    if not chosen:
        return ""
    file, function = chosen[0]
    return f"{function} ({file.rsplit('/', 1)[-1]})" if file else function


def _frame(frame: str) -> tuple[str, str]:
    without_line = _ADDRESS.sub("", _LINE.sub("", frame))
    parted = _PARTED.fullmatch(without_line)
    return (parted[1], parted[2]) if parted else ("", without_line)
