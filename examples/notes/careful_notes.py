"""The same notebook with a writer and a reader that expect the world to break.

The writer never touches the good file: it fills a second one beside it, has it on the disk, and renames it over the
good one. If it cannot, it removes what it made, says why and exits with 1. The reader sets a damaged file aside, says
so, and begins a new one; a file that it cannot *read* is not a damaged file, so there it stops.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tinydb import TinyDB
from tinydb.storages import Storage

KEPT = 5


@contextmanager
def descriptor(path: Path, flags: int) -> Iterator[int]:
    number = os.open(path, flags, 0o644)
    try:
        yield number
    except BaseException:
        with suppress(OSError):  # the first failure is the one to tell
            os.close(number)
        raise
    os.close(number)


class CarefulStorage(Storage):
    """Keeps the data in one JSON file that is whole at every moment."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.fresh = Path(path + ".new")

    def read(self) -> Any:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            data = json.loads(content)
            if not all(isinstance(note["text"], str) for note in data["_default"].values()):
                raise ValueError("a note without a text")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = self.path.with_suffix(".damaged")
            os.replace(self.path, aside)
            print(f"{self.path} is damaged ({error}); it is kept as {aside}, a new one is begun", file=sys.stderr)
            return None
        return data

    def write(self, data: Any) -> None:
        try:
            with descriptor(self.fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
                rest = json.dumps(data).encode()
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            os.rename(self.fresh, self.path)
        except BaseException:
            with suppress(OSError):
                self.fresh.unlink()
            raise
        with descriptor(self.path.parent, os.O_RDONLY | os.O_DIRECTORY) as directory:
            os.fsync(directory)


def add(notebook: TinyDB, text: str) -> None:
    notebook.insert({"text": text})
    surplus = sorted(note.doc_id for note in notebook)[:-KEPT]
    if surplus:
        notebook.remove(doc_ids=surplus)
    print(f"saved: {text}", flush=True)


def show(notebook: TinyDB) -> None:
    for note in notebook:
        print(f"{note.doc_id:3} {note['text']}")


if __name__ == "__main__":
    try:
        with TinyDB("notes.json", storage=CarefulStorage) as notebook:
            if sys.argv[1:2] == ["add"]:
                add(notebook, " ".join(sys.argv[2:]))
            else:
                show(notebook)
    except OSError as error:
        sys.exit(f"the note could not be saved: {error}")
