"""Books a delivery through a C library. A stream that could not be opened is an error."""

import ctypes
import os
import sys
from contextlib import suppress

BOOK = "deliveries.json"
FRESH = BOOK + ".new"

libc = ctypes.CDLL(None, use_errno=True)
libc.fopen.restype = ctypes.c_void_p
libc.fwrite.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
libc.fwrite.restype = ctypes.c_size_t
for function in (libc.fflush, libc.fileno, libc.fclose):
    function.argtypes = [ctypes.c_void_p]


def render(count: int) -> bytes:
    return ("[\n" + ",\n".join(f'"delivery {number}"' for number in range(1, count + 1)) + "\n]\n").encode()


def read() -> int:
    """How many deliveries the book holds; a damaged one is refused."""
    with open(BOOK, "rb") as file:
        content = file.read()
    count = content.count(b"\n") - 2
    if content != render(count):
        sys.exit(f"{BOOK} is damaged: put the last good copy back")
    return count


def fill(path: str, content: bytes) -> None:
    """Write the content by the C library's streams and have it on the disk."""
    file = libc.fopen(path.encode(), b"wb")
    if not file:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    done = libc.fwrite(content, 1, len(content), file) == len(content)
    done = done and libc.fflush(file) == 0 and libc.fsync(libc.fileno(file)) == 0
    if libc.fclose(file) != 0 or not done:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


def sync_directory() -> None:
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def save(count: int) -> None:
    fill(FRESH, render(count))
    os.rename(FRESH, BOOK)
    sync_directory()


def tidy() -> None:
    with suppress(OSError):
        os.unlink(FRESH)


if __name__ == "__main__":
    try:
        booked = read() + 1
        save(booked)
        print(f"booked: delivery {booked}", flush=True)
    except OSError as error:
        tidy()
        sys.exit(f"failed: {error}")
