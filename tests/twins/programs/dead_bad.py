"""Keeps the time: a thread writes each second how many have passed. After an error that thread ends."""

import os
import signal
import sys
import threading

SECONDS = "seconds"
FRESH = SECONDS + ".new"


def read() -> int:
    """How many seconds have passed so far; a damaged file is refused."""
    try:
        with open(SECONDS, encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        return 0
    except ValueError:
        sys.exit(f"{SECONDS} is damaged: put the last good copy back")


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


def save(seconds: int) -> None:
    fill(FRESH, b"%d\n" % seconds)
    os.rename(FRESH, SECONDS)
    sync_directory()


def count(passed: int, told: threading.Event) -> None:
    while not told.is_set():
        passed += 1
        try:
            save(passed)
        except OSError as error:
            print(f"failed: {error}", file=sys.stderr, flush=True)
            return
        told.wait(1.0)


def main() -> None:
    passed = read()
    told = threading.Event()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    thread = threading.Thread(target=count, args=(passed, told))
    thread.start()
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    told.set()
    thread.join()


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"failed: {error}")
