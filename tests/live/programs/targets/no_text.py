"""Adds a line to the file that is named, in place, whatever bytes its name has; its lines and answers are no text."""

import os
import sys

name = os.fsencode(sys.argv[1])
with open(name, "rb") as file:
    lines = file.read().splitlines(keepends=True)
lines.append(b"\xff\xfe line %d\n" % (len(lines) + 1))
with open(name, "wb") as file:
    file.writelines(lines)
os.write(1, b"\xff\xfe %d lines in " % len(lines) + name + b"\n")
