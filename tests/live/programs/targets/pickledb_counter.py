"""Counts visits with pickledb: the temporary file is renamed over the old one without having been synced."""

from pickledb import PickleDB

store = PickleDB("visits.json")
store.load()
visits = store.get("visits", 0) + 1
store.set("visits", visits)
store.set(f"visit {visits}", "seen")
store.save()
print(f"visit {visits}", flush=True)
