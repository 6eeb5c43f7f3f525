"""Does the tasks of a queue, a file each, and notes the result of each. `first`: takes a task away before that."""

import os
import sys

first = sys.argv[1] == "first"
for name in sorted(os.listdir("queue")):
    path = os.path.join("queue", name)
    with open(path) as file:
        line = f"{name}: {file.read().strip()}\n"
    if first:
        os.unlink(path)
    with open("results.txt", "a") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if not first:
        os.unlink(path)
