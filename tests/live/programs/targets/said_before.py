"""Says that it has counted, before or (with `after`) after it has."""

import os
import sys

with open("count.txt") as file:
    count = int(file.read()) + 1
if "after" not in sys.argv:
    print("counted", count, flush=True)
with open("count.new", "w") as file:
    file.write(f"{count}\n")
    file.flush()
    os.fsync(file.fileno())
os.rename("count.new", "count.txt")
descriptor = os.open(".", os.O_RDONLY)
os.fsync(descriptor)
os.close(descriptor)
if "after" in sys.argv:
    print("counted", count, flush=True)
