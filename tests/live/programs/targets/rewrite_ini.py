"""Counts its runs in an INI file, which configparser reads and rewrites in place: the usual way, and a defect."""

import configparser

config = configparser.ConfigParser()
config.read("pump.ini")
if not config.has_section("totals"):
    config.add_section("totals")
runs = config.getint("totals", "runs", fallback=0) + 1
config.set("totals", "runs", str(runs))
with open("pump.ini", "w") as file:
    config.write(file)
print(f"run {runs} counted", flush=True)
