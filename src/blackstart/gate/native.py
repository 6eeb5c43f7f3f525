"""Call sites of native programs: a cheap guess for each kind of call, and the exact stack of one.

The guess scans the stack for words that point just behind a call instruction in executable code, and names the
functions of those in the program's own files (not of the C library). It may name a stale word too, so it labels and
groups, and decides nothing. It is made once per (call, path, depth of the stack), since a look costs 50-400 us.

The exact stack comes from a debugger, which hangs on a thread that waits in the gate: so SIGSTOP is sent before the
answer, and the stack is read when the thread stands still behind its call. For findings only: it takes 10-150 ms.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from bisect import bisect_right
from collections.abc import Callable

from blackstart.gate.elf import Functions, functions
from blackstart.gate.tasks import Thread

_STACK_BYTES = 4096
_DEPTH_MAX = 8
_MAPS_MAX = 1 << 20
_KEPT_MAX = 65536
_DEBUGGER_WITHIN_S = 10.0
# Files whose functions every program calls: naming them tells nothing.
_COMMON = re.compile(
    r"/(ld|libc|libpthread|libm|libstdc\+\+|libc\+\+|libgcc_s|ld-linux[^/]*|ld-musl[^/]*)[-.][^/]*$|^\["
)
# Of a language's runtime, and the endings that compilers give to a function: of its parts, or another with each build.
_PLUMBING = re.compile(
    r"((runtime|syscall|os|io|bufio|internal)(/[^.]*)?)\.|_start$|__libc_|uv__?[a-z]|(v8|node)::|_ZNK?(2v8|4node)"
    r"|Builtins_"  # what V8 runs a script with: the same for each of the script's own functions, which have no symbols
    # The standard library of Rust: as eu-stack has it, and as the linker does, in the old way and the new.
    r"|<?(std|core|alloc)::.*::h[0-9a-f]+$|_ZN(3std|4core|5alloc)\w*17h[0-9a-f]{16}E(\.|$)"
    r"|_R[^C]*Cs[0-9A-Za-z]+_(3std|4core|5alloc)"
)
_RUNTIME = re.compile(r"/deps/(uv|v8)/|^(/rustc/[0-9a-f]+/)?library/(std|core|alloc)/")
_PART = re.compile(r"\.(isra|part|constprop|cold|lto_priv|llvm)\b.*$|::h[0-9a-f]{16}$|17h[0-9a-f]{16}(?=E(\.|$))")
_FRAME = re.compile(r"#\d+ +0x([0-9a-f]+) +(?:- \d+ +)?(\S+)(?: - (.+))?$")


class _Code:
    """One executable mapping."""

    __slots__ = ("start", "end", "base", "path")

    def __init__(self, start: int, end: int, base: int, path: str) -> None:
        self.start, self.end, self.base, self.path = start, end, base, path


class Scanner:
    """Guesses of all processes; what belongs to one that became another program is dropped by `forget`."""

    def __init__(self, mask: Callable[[str], str]) -> None:
        self._mask = mask
        self._maps: dict[int, list[_Code]] = {}
        self._functions: dict[tuple[int, int, int], Functions] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._sites: dict[tuple[int, str, str, int], tuple[str, ...]] = {}

    def forget(self, pid: int) -> None:
        """The process becomes another program."""
        self._maps.pop(pid, None)
        self._names = {key: name for key, name in self._names.items() if key[0] != pid}
        self._sites = {key: site for key, site in self._sites.items() if key[0] != pid}

    def site(self, thread: Thread, call: str, path: str) -> tuple[str, ...]:
        """Frames `file:function:0`, innermost first, of a thread that waits in this call; () if nothing is known."""
        pointer = _stack_pointer(thread.tid)
        if not pointer:
            return ()
        key = thread.process.pid, call, path, pointer
        found = self._sites.get(key)
        if found is None:
            if len(self._sites) >= _KEPT_MAX:
                self._sites.clear()
            found = self._sites[key] = self._scan(thread, pointer)
        return found

    def _scan(self, thread: Thread, pointer: int) -> tuple[str, ...]:
        pid = thread.process.pid
        maps = self._maps.get(pid)
        if maps is None:
            maps = self._maps[pid] = _code_of(thread.tid)
        starts = [code.start for code in maps]
        raw = thread.process.read(pointer, _STACK_BYTES)
        frames: list[str] = []
        for (word,) in struct.iter_unpack("<Q", raw[: len(raw) - len(raw) % 8]):
            place = bisect_right(starts, word) - 1
            if place < 0 or word >= maps[place].end:
                continue
            name = self._names.get((pid, word))
            if name is None:
                name = self._names[pid, word] = self._name(thread, maps[place], word)
            if name and (not frames or frames[-1] != name):
                frames.append(name)
                if len(frames) >= _DEPTH_MAX:
                    break
        return tuple(frames)

    def _name(self, thread: Thread, code: _Code, word: int) -> str:
        """`file:function:0` of a return address; "" if the word is none, or nothing names it."""
        before = thread.process.read(word - 7, 7)
        if len(before) < 7 or not _is_behind_call(before):
            return ""
        path = f"/proc/{thread.tid}/root{code.path}"
        try:
            status = os.stat(path)
        except OSError:
            return ""
        key = status.st_dev, status.st_ino, status.st_mtime_ns
        if key not in self._functions:
            self._functions[key] = functions(path)
        named = self._functions[key]
        function = named.at(word - 1 - (0 if named.is_fixed else code.base))
        if not function or ":" in function or _PLUMBING.match(function):
            return ""
        return f"{self._mask(code.path)}:{_PART.sub('', function)}:0"


def _stack_pointer(tid: int) -> int:
    try:
        with open(f"/proc/{tid}/syscall", "rb", buffering=0) as information:
            return int(information.read(512).split()[-2], 16)
    except (OSError, IndexError, ValueError):
        return 0


def _is_behind_call(before: bytes) -> bool:
    """Whether these seven bytes end in a call: `e8` with an offset, `ff /2` of 2 to 7 bytes; on arm64, bl or blr."""
    if os.uname().machine == "aarch64":
        word = int.from_bytes(before[3:], "little")
        return word >> 26 == 0x25 or word & 0xFFFFFC1F == 0xD63F0000
    return before[2] == 0xE8 or any(before[at] == 0xFF and before[at + 1] >> 3 & 7 == 2 for at in (5, 4, 3, 1, 0))


def _code_of(tid: int) -> list[_Code]:
    """The executable mappings of a program's own files, by address."""
    try:
        with open(f"/proc/{tid}/maps", "rb") as lines:
            text = lines.read(_MAPS_MAX)
    except OSError:
        return []
    bases: dict[str, int] = {}
    found = []
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 6:
            continue
        path = os.fsdecode(fields[5])
        start, _, end = fields[0].partition(b"-")
        bases.setdefault(path, int(start, 16) - int(fields[2], 16))
        if b"x" in fields[1] and path.startswith("/") and not _COMMON.search(path):
            found.append(_Code(int(start, 16), int(end, 16), bases[path], path))
    return sorted(found, key=lambda code: code.start)


def stack_of(tid: int) -> tuple[str, ...]:
    """The program's own frames of a stopped thread, `file:function:line` innermost first; () if they cannot be had.

    The file is that of the source and the line its own where the program carries them, else that of the program and 0.
    """
    debugger = shutil.which("eu-stack")
    if debugger is None:
        return ()
    # It would ask servers of debugging information, if the environment names some.
    environment = {name: value for name, value in os.environ.items() if name != "DEBUGINFOD_URLS"}
    try:
        done = subprocess.run(
            [debugger, "-1", "-i", "-m", "-s", "-p", str(tid)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_DEBUGGER_WITHIN_S,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return frames_of(os.fsdecode(done.stdout), lambda module, address: _line_of(f"/proc/{tid}/root{module}", address))


def frames_of(text: str, line_of: Callable[[str, int], str] = lambda module, address: "") -> tuple[str, ...]:
    """The frames in what the debugger printed, without those of the C library and of a language's runtime.

    line_of: `file:line` of an address in a module, for frames whose line the debugger does not know; "" if unknown.
    """
    frames: list[str] = []
    is_own, function = False, ""
    for line in text.splitlines():
        named = _FRAME.match(line)
        if named:
            function, module = named[2].partition("@")[0], named[3] or ""
            is_own = not _PLUMBING.match(function) and not _COMMON.search(module)
            if is_own:
                source, _, number = line_of(module, int(named[1], 16)).rpartition(":")
                function = _PART.sub("", function)
                frames.append(f"{source or module}:{function}:{number or 0}")
        elif is_own and line.startswith("    "):
            source, _, rest = line.strip().partition(":")
            if _RUNTIME.search(source):
                frames.pop()
                is_own = False
                continue
            frames[-1] = f"{source}:{function}:{rest.partition(':')[0] or 0}"
    return tuple(frames)


def _line_of(path: str, address: int) -> str:
    """`file:line` of a return address in a program at a fixed address, by addr2line; "" if it cannot be had.

    Programs made by Go are such, and their lines are packed in a way that eu-stack does not read. Of the functions that
    the compiler put into each other there, the outermost is the one that the frame is named after.
    """
    finder = shutil.which("addr2line")
    if finder is None or not functions(path).is_fixed:
        return ""
    command = [finder, "-i", "-e", path, hex(address - 1)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_DEBUGGER_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = os.fsdecode(done.stdout).rstrip("\n").rpartition("\n")[2].partition(" (")[0]
    return found if re.search(r"[^?]:[1-9][0-9]*$", found) else ""
