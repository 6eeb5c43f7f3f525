"""Adds one to a count, with care: for tests in which something else is hard."""

import json
import os
import sys
from contextlib import suppress

COUNT, FRESH = "count.json", "count.json.new"


def main() -> None:
    with open(COUNT, "rb") as file:
        content = file.read()
    try:
        count = int(json.loads(content)["count"]) + 1
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"{COUNT} is damaged: {error}")
    try:
        with open(FRESH, "wb", buffering=0) as fresh:
            rest = json.dumps({"count": count}).encode() + b"\n"
            while rest:
                rest = rest[os.write(fresh.fileno(), rest) :]
            os.fsync(fresh.fileno())
        os.replace(FRESH, COUNT)
    except BaseException:
        with suppress(OSError):
            os.unlink(FRESH)
        raise
    print(f"count {count}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"not counted: {error}")
