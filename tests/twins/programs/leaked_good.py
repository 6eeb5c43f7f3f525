"""Books a delivery. The new book has a name of its own each time, and is removed where it cannot be finished."""

import os
import sys
import tempfile
from contextlib import suppress

BOOK = "deliveries.json"


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


def fill(file: int, content: bytes) -> None:
    """Write the content and have it on the disk."""
    try:
        while content:
            content = content[os.write(file, content) :]
        os.fsync(file)
    finally:
        os.close(file)


def sync_directory() -> None:
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def save(count: int) -> None:
    file, fresh = tempfile.mkstemp(prefix=BOOK + ".", dir=".")
    try:
        fill(file, render(count))
        os.rename(fresh, BOOK)
    except OSError:
        tidy(fresh)
        raise
    sync_directory()


def tidy(fresh: str) -> None:
    with suppress(OSError):
        os.unlink(fresh)


if __name__ == "__main__":
    try:
        booked = read() + 1
        save(booked)
        print(f"booked: delivery {booked}", flush=True)
    except OSError as error:
        sys.exit(f"failed: {error}")
