"""Counts in a file of a directory that it makes in HOME; in place, or (with `careful`) by a temporary file."""

import json
import os
import sys

folder = os.path.join(os.environ["HOME"], ".config", "counter")
os.makedirs(folder, exist_ok=True)
path = os.path.join(folder, "count.json")
state = {"count": 0, "history": []}
if os.path.exists(path):
    with open(path) as file:
        state = json.load(file)
state["count"] += 1
state["history"].append(f"number {state['count']}")
place = path + ".new" if "careful" in sys.argv else path
with open(place, "w") as file:
    json.dump(state, file)
    file.flush()
    os.fsync(file.fileno())
if place != path:
    os.replace(place, path)
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
print("count", state["count"])
