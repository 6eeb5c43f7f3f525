"""What is too long to be shown, as files beside the results: the next time takes the place of the last.

A name comes from a report that somebody else may have written, so it never leads out of the folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from blackstart.core.errors import BlackstartError
from blackstart.store.database import create_folder
from blackstart.store.store import DIRECTORY

_FOLDER = "replay"
_UNSAFE = re.compile(r"[^A-Za-z0-9-]")


def keep_aside(directory: str, name: str, texts: Mapping[str, bytes]) -> list[str]:
    """Write each text to a file of its name below `.blackstart/replay/NAME/`; their paths, seen from `directory`."""
    folder = os.path.join(DIRECTORY, _FOLDER, _UNSAFE.sub("_", name) or "_")
    place = os.path.join(directory, folder)
    create_folder(os.path.join(directory, DIRECTORY))
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
        for old in os.listdir(place):
            os.unlink(os.path.join(place, old))
        for file_name, text in texts.items():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(os.path.join(place, file_name), flags, 0o600), "wb") as file:
                file.write(text)
    except OSError as error:
        raise BlackstartError(
            f"what the program said cannot be kept: {error.strerror}", where=place, next_step="free space there"
        ) from error
    return [os.path.join(folder, file_name) for file_name in texts]
