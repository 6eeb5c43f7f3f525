"""Books a delivery. A piece of the book that cannot be read is asked for again at once, for ever."""

import os
import sys
from contextlib import suppress

BOOK = "deliveries.json"
FRESH = BOOK + ".new"


def render(count: int) -> bytes:
    return ("[\n" + ",\n".join(f'"delivery {number}"' for number in range(1, count + 1)) + "\n]\n").encode()


def content_of(path: str) -> bytes:
    """All that the file holds, piece by piece."""
    content = b""
    with open(path, "rb", buffering=0) as file:
        while True:
            try:
                piece = file.read(1 << 16)
            except OSError:
                continue
            if not piece:
                return content
            content += piece


def read() -> int:
    """How many deliveries the book holds; a damaged one is refused."""
    content = content_of(BOOK)
    count = content.count(b"\n") - 2
    if content != render(count):
        sys.exit(f"{BOOK} is damaged: put the last good copy back")
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
