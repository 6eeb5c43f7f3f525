"""Appends an order to a file and says so. `careful`: an error is told, and half an order is taken back.

`log`: the same as an account of what happened when, which nobody keeps for ever.
"""

import os
import sys
import time

mode = sys.argv[1]
line = "2 nails, 1 screw, paid\n" if mode != "log" else time.strftime("%Y-%m-%d %H:%M:%S") + " INFO 2 nails ordered\n"
try:
    with open("orders.txt", "ab", buffering=0) as file:
        before = file.tell()
        try:
            if file.write(line.encode()) != len(line):
                raise OSError("the disk is full")
            os.fsync(file.fileno())
        except OSError:
            if mode == "careful":
                file.truncate(before)
            raise
except OSError as error:
    if mode == "careful":
        sys.exit(f"not ordered: {error}")
print("ordered")
