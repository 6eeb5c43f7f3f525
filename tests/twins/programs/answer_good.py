"""Books a delivery, and says what all of them weigh. The remembered weight is believed if it proves whole."""

import os
import sys
import zlib
from contextlib import suppress

BOOK = "deliveries.json"
FRESH = BOOK + ".new"
WEIGHT = "weight.cache"


def render(count: int) -> bytes:
    return ("[\n" + ",\n".join(f'"delivery {number}"' for number in range(1, count + 1)) + "\n]\n").encode()


def read() -> int:
    """How many deliveries the book holds; a damaged one is left behind."""
    with open(BOOK, "rb") as file:
        content = file.read()
    count = content.count(b"\n") - 2
    if content != render(count):
        print(f"{BOOK} is damaged: a new book is begun", file=sys.stderr)
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


def proof(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def weigh(count: int) -> int:
    """The weight of so many deliveries, remembered from the last start."""
    words = []
    with suppress(OSError, ValueError), open(WEIGHT) as file:
        words = file.read().split()
    if len(words) == 3 and words[0] == str(count) and words[2] == proof(words[1]):
        return int(words[1])
    return sum(10 + number for number in range(1, count + 1))


def remember(count: int, weight: int) -> None:
    with suppress(OSError):
        fill(WEIGHT, f"{count} {weight} {proof(str(weight))}\n".encode())


def tidy() -> None:
    with suppress(OSError):
        os.unlink(FRESH)


if __name__ == "__main__":
    try:
        booked = read() + 1
        weight = weigh(booked - 1) + 10 + booked
        save(booked)
        remember(booked, weight)
        print(f"weight: {weight} kg", flush=True)
        print(f"booked: delivery {booked}", flush=True)
    except OSError as error:
        tidy()
        sys.exit(f"failed: {error}")
