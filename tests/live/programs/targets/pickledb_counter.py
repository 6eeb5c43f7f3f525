"""Counts visits with pickledb: a file that it cannot look at is taken for one that is not there."""

from pickledb import PickleDB

store = PickleDB("visits.json")
store.load()
visits = store.get("visits", 0) + 1
store.set("visits", visits)
store.set(f"visit {visits}", "seen")
store.save()
print(f"visit {visits}", flush=True)
