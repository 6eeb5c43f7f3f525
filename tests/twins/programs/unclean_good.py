"""Books a delivery when it opens and one when it closes. It gives the lock back also after an error while it closes."""

import fcntl
import os
import signal
import sys
from contextlib import suppress

BOOK = "deliveries.json"
FRESH = BOOK + ".new"
LOCK = "deliveries.lock"


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


def acquire() -> int:
    """Take the lock of the book, which nobody else may hold."""
    descriptor = os.open(LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def save(count: int) -> None:
    fill(FRESH, render(count))
    os.rename(FRESH, BOOK)
    sync_directory()


def tidy() -> None:
    with suppress(OSError):
        os.unlink(FRESH)


def work() -> None:
    try:
        save(read() + 1)
        print("open", flush=True)
        signal.sigwait({signal.SIGTERM})
        save(read() + 1)
    except OSError:
        tidy()
        raise


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    acquire()
    try:
        work()
    finally:
        os.unlink(LOCK)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"failed: {error}")
