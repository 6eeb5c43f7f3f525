"""Which exception did nobody catch, as told on stderr?

One that was caught may be logged with its traceback. Only the place tells them apart: the interpreter begins a write
with it, or says itself whose it was (a thread, an object, a task), where a logger puts a message in front in the same
write. One that ends the program has come all the way from the top of its main file, and ends it with a status of its
own. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TRACEBACK = b"Traceback (most recent call last):"
# What Python itself, its threads, processes and tasks say before a traceback that nobody caught.
_ITS_OWN = re.compile(
    rb"(Exception in thread |Exception ignored |Process \S+:|future: <|.*exception was never retrieved)"
)
# Between the tracebacks of one chain: `… the above exception …`.
_CHAIN = re.compile(rb"(During handling of|The above exception was)[^\n]*\n\s*\Z")
_GROUP = re.compile(rb"[\s|+]*(Exception Group )?\Z")
_FRAME = re.compile(rb'\n[\s|]*File "([^"]*)", line \d+, in (.+)')
_TOP = (b"<module>", b"_run_module_as_main")
# The line with which other languages (Go, Rust, Java, JavaScript) tell that an exception ends the process; some also
# print it where it is caught and logged, so the exit status must speak of it, too.
_UNCAUGHT = re.compile(
    r"^(panic: .*|fatal error: .*|thread '.*' panicked at .*|Exception in thread .*|Uncaught .*)", re.MULTILINE
)
# Node ends what it says of one with its version.
_JAVASCRIPT, _NODE = re.compile(r"^\w*Error: .*(?=\n +at )", re.MULTILINE), re.compile(r"^Node\.js v", re.MULTILINE)


def traceback_of(pieces: Sequence[bytes], *, is_bad_end: bool) -> bytes:
    """What was said from the last traceback on that nobody caught; empty if there is none. pieces: the writes."""
    said = b"".join(pieces)
    begins, at = {0}, 0
    for piece in pieces:
        begins.add(at := at + len(piece))
    chain, found = -1, b""
    at = said.find(TRACEBACK)
    while at >= 0:
        line = said.rfind(b"\n", 0, at) + 1
        if chain < 0 or not _CHAIN.search(said, chain, line):
            chain = line
        if _GROUP.match(said[line:at]) and _is_uncaught(said, chain, at, begins, is_bad_end):
            found = said[at:]
        at = said.find(TRACEBACK, at + 1)
    return found


def _is_uncaught(said: bytes, line: int, at: int, begins: set[int], is_bad_end: bool) -> bool:
    """line: where its chain begins, whose earlier tracebacks reach only as far up as they were caught."""
    before = said[:line].rstrip(b"\n").rpartition(b"\n")[2]
    if _ITS_OWN.match(before):
        return True
    if line not in begins or not is_bad_end:
        return False
    first = _FRAME.search(said, at)
    return first is None or first[2].strip() in _TOP


def told_elsewhere(text: str) -> str:
    """The line by which another language than Python tells of an exception that ends the process; `` if none."""
    if found := _UNCAUGHT.search(text):
        return found[0]
    ends = [trailer.start() for trailer in _NODE.finditer(text)][-1:]
    told = [one[0] for end in ends for one in _JAVASCRIPT.finditer(text, 0, end)]
    return told[-1] if told else ""
