"""Counts under a lock file that holds the time at which it was taken; a lock older than `--limit` seconds is broken.

Without a limit a lock that a killed process left stays for ever.
"""

import json
import os
import sys
import time

LOCK, COUNT = "counter.lock", "count.json"
limit_s = float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")


def take() -> None:
    try:
        descriptor = os.open(LOCK, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        with open(LOCK) as file:
            since = float(file.read() or "0")
        if time.time() - since <= limit_s:
            sys.exit("another process counts; try again later")
        os.unlink(LOCK)
        return take()
    with os.fdopen(descriptor, "w") as file:
        file.write(str(time.time()))


take()
try:
    with open(COUNT) as file:
        count = json.load(file)["count"] + 1
    with open(COUNT + ".new", "w") as file:
        json.dump({"count": count}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(COUNT + ".new", COUNT)
    directory = os.open(".", os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
finally:
    os.unlink(LOCK)
print("count", count)
