"""Makes src/blackstart/gate/errnos.json: which errors each system call can give, as the Linux man pages list them.

    python tools/make_errnos.py [--check]

Reads the pages of section 2 that Debian's `manpages-dev` installs; only names of errors are taken, no text. What file
systems give besides is added by hand below, each with its reason. --check compares instead of writing.
"""

from __future__ import annotations

import argparse
import errno
import gzip
import json
import re
import sys
from pathlib import Path

from blackstart.gate.calls import CALLS

PAGES = Path("/usr/share/man/man2")
OUTPUT = Path(__file__).parents[1] / "src" / "blackstart" / "gate" / "errnos.json"

# The page of a call, where it is not its name.
PAGE = {
    "pread64": "pread", "pwrite64": "pwrite", "getdents64": "getdents", "newfstatat": "stat", "fchmodat2": "chmod",
    "exit_group": "exit_group", "wait4": "wait", "settimeofday": "gettimeofday", "clock_settime": "clock_gettime",
    "preadv": "readv", "preadv2": "readv", "pwritev": "readv", "pwritev2": "readv", "writev": "readv",
    "faccessat2": "access", "clone3": "clone", "statx": "statx",
}  # fmt: skip
# "Fails as these do", says the page in words.
SAME_AS = {
    "pread64": ("read", "lseek"), "pwrite64": ("write", "lseek"), "readv": ("read",), "writev": ("write",),
    "preadv": ("read", "lseek"), "preadv2": ("read", "lseek"), "pwritev": ("write", "lseek"),
    "pwritev2": ("write", "lseek"), "creat": ("open",), "fork": (), "recvmsg": ("recv",), "recvfrom": ("recv",),
    "sendto": ("send",), "sendmsg": ("send",), "sendmmsg": ("send",), "close_range": (),
    "openat2": ("open", "openat"), "execveat": ("execve",), "vfork": ("fork",), "futimesat": ("utimes",),
    **{f"{prefix}{verb}xattr": ("stat",) for prefix in ("", "l", "f") for verb in ("set", "remove")},
}  # fmt: skip
# On the page of another call, whose errors are not theirs.
NEVER_FAIL = frozenset({"sync", "exit_group"})
_REMOUNTED = "a file system that met an error makes itself read-only: open files give EROFS too"
_ENTRY = "reading or writing a directory can fail like any other reading or writing"
_READ = "the other end of a connection can vanish while it is read"
# What file systems and networks give although the page does not list it, and why.
BESIDES = {
    **dict.fromkeys(("pwrite64", "pwritev", "pwritev2", "fallocate"), (("EROFS",), _REMOUNTED)),
    **dict.fromkeys(("write", "writev"), (("EROFS", "ECONNRESET"), f"{_REMOUNTED}; {_READ}")),
    **dict.fromkeys(("ftruncate", "copy_file_range", "sendfile", "splice"), (("EROFS",), _REMOUNTED)),
    **dict.fromkeys(("open", "openat", "openat2", "creat", "mkdir", "mkdirat", "rmdir"), (("EIO",), _ENTRY)),
    **dict.fromkeys(("rename", "renameat", "renameat2", "mknod", "mknodat", "execve"), (("EIO",), _ENTRY)),
    **dict.fromkeys(("stat", "lstat", "newfstatat", "statx", "getdents", "getdents64"), (("EIO",), _ENTRY)),
    **dict.fromkeys(("setxattr", "lsetxattr", "fsetxattr"), (("EIO", "ENOSPC", "EDQUOT", "EROFS"), _ENTRY)),
    "sendfile": (("ENOSPC", "EDQUOT", "EROFS"), "it writes, and fails as write does"),
    "msync": (("EIO", "ENOSPC", "EDQUOT", "EROFS"), "it writes back, and fails as fsync does"),
    "splice": (("ENOSPC", "EDQUOT", "EIO", "EROFS"), "it writes, and fails as write does"),
    **dict.fromkeys(("read", "readv", "recvfrom", "recvmsg"), (("ECONNRESET", "ETIMEDOUT"), _READ)),
    **dict.fromkeys(("utime", "utimes", "futimesat", "utimensat"), (("EIO",), _ENTRY)),
}


def section(page: str) -> list[str]:
    """The lines of a page's ERRORS."""
    path = PAGES / f"{page}.2.gz"
    if not path.exists():
        return []
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    if text.startswith(".so "):
        return section(text.split()[1].split("/")[-1].removesuffix(".2"))
    inside, lines = False, []
    for line in text.splitlines():
        if line.startswith(".SH"):
            inside = line.split(None, 1)[1].strip().strip('"').startswith("ERRORS")
        elif inside and not line.startswith('.\\"'):
            lines.append(line)
    return lines


def listed(page: str, call: str) -> set[str]:
    """The errors that a page lists for one call; those listed for other calls of the same page are left out."""
    name = PAGE.get(call, call) if call in ("pread64", "pwrite64", "getdents64", "newfstatat") else call
    found: set[str] = set()
    only: set[str] = set()
    lines = section(page)
    for at, line in enumerate(lines):
        if line.startswith((".PP", ".P")) or line.startswith("The following"):
            paragraph = " ".join(lines[at + 1 : at + 7] if line.startswith(".P") else lines[at : at + 6])
            if re.search(r"(additional|following) (\w+ )?errors? (can|may|is|are)", paragraph.split(".TP")[0]):
                only = set(re.findall(r"\b([a-z]\w+) *\(\)", paragraph.split(".TP")[0]))
        if line.startswith((".TP", ".TQ")) and at + 1 < len(lines):
            tag = lines[at + 1]
            names = {n for n in re.findall(r"\bE[A-Z0-9]{2,}\b", tag) if hasattr(errno, n)}
            if not only or name in only:
                found |= names
    return found


def table() -> dict[str, list[str]]:
    """Call -> names of errors, sorted."""
    made = {}
    for call in sorted(CALLS):
        found = listed(PAGE.get(call, call), call) if call not in NEVER_FAIL else set()
        for other in SAME_AS.get(call, ()):
            found |= listed(other, other)
        found |= set(BESIDES.get(call, ((), ""))[0])
        made[call] = sorted(found)
    return made


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = json.dumps(table(), indent=1).replace("\n  ", " ").replace("\n ]", " ]") + "\n"
    if check:
        same = OUTPUT.read_text() == text
        print("errnos.json is what the man pages say" if same else "errnos.json differs from the man pages")
        return 0 if same else 1
    OUTPUT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
