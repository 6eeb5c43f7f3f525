"""Books a delivery. A damaged book is begun afresh, and nobody is told."""

import os
import sys
from contextlib import suppress

BOOK = "deliveries.json"
FRESH = BOOK + ".new"


def render(count: int) -> bytes:
    return ("[\n" + ",\n".join(f'"delivery {number}"' for number in range(1, count + 1)) + "\n]\n").encode()


def read() -> int:
    """How many deliveries the book holds; a damaged one is left behind."""
    with open(BOOK, "rb") as file:
        content = file.read()
    count = content.count(b"\n") - 2
    if content != render(count):
        return 0
    return count


def fill(path: str, content: bytes) -> None:
    """Write the content and have it on the disk."""
    with open(path, "wb", buffering=0) as file:
        while content:
            content = content[os.write(file.fileno(), content) :]
        os.fsync(file.fileno())


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
