"""Says that an item is saved before it is synced. `withdraws`: an error then ends it with a status of its own."""

import os
import sys

kept = open("items.txt", "rb").read()
number = kept.count(b"\n") + 1
with open("items.txt", "ab", buffering=0) as file:
    try:
        file.write(b"item %d\n" % number)
        print(f"saved item {number}", flush=True)
        os.fsync(file.fileno())
    except OSError as error:
        file.truncate(len(kept))
        if sys.argv[1] == "withdraws":
            sys.exit(f"item {number} is not saved: {error}")
