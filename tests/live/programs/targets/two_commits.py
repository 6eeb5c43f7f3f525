"""Counts in one transaction and adds the item in a second one, in a write-ahead log that is synced at its end only."""

import sqlite3

database = sqlite3.connect("items.db", isolation_level=None)
database.execute("pragma journal_mode = wal")
database.execute("pragma synchronous = normal")
database.execute("create table if not exists count(value)")
database.execute("create table if not exists item(name)")
number = (database.execute("select value from count").fetchone() or (0,))[0] + 1
database.execute("begin")
database.execute("delete from count")
database.execute("insert into count values (?)", (number,))
database.execute("commit")
database.execute("insert into item values (?)", (f"item {number}",))
database.close()
