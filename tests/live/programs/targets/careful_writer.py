"""Raises a set point by one: the new settings get their own name, are on the disk, replace the old in one step."""

import glob
import json
import os
import sys
import tempfile
from contextlib import suppress

SETTINGS = "thermostat.json"


def read() -> dict[str, int]:
    with open(SETTINGS, "rb") as file:
        content = file.read()
    try:
        settings = json.loads(content)
        if settings["sum"] != settings["target"] + settings["changes"]:
            raise ValueError("its sum is wrong")
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"{SETTINGS} is damaged ({error}); put a good one back")
    return {"target": settings["target"], "changes": settings["changes"]}


def write(settings: dict[str, int]) -> None:
    number, fresh = tempfile.mkstemp(prefix=".thermostat-", dir=".")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(json.dumps({**settings, "sum": sum(settings.values())}, indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, SETTINGS)
    except BaseException:
        with suppress(OSError):
            os.unlink(fresh)
        raise
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


if __name__ == "__main__":
    try:
        for stale in glob.glob(".thermostat-*"):  # of a run that was killed
            os.unlink(stale)
        found = read()
        write({"target": found["target"] + 1, "changes": found["changes"] + 1})
        print(f"the target is {found['target'] + 1}", flush=True)
    except OSError as error:
        sys.exit(f"the set point is unchanged or unsure: {error}")
