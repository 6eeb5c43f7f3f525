"""Adds an item to a shelf that dbm.dumb keeps; its index is renamed away before the new one is written."""

import dbm.dumb
import shelve

with shelve.Shelf(dbm.dumb.open("inventory", "c")) as shelf:
    number = len(shelf)
    shelf[f"item {number}"] = {"pieces": number}
print(f"item {number} is on the shelf", flush=True)
