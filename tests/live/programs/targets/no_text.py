"""Counts in place in the file that is named, whatever bytes its name has, and answers with bytes that are no text."""

import os
import sys

name = os.fsencode(sys.argv[1])
with open(name, "rb") as file:
    count = int(file.read() or b"0") + 1
with open(name, "wb") as file:
    file.write(b"%d\n" % count)
os.write(1, b"\xff\xfe count %d of " % count + name + b"\n")
