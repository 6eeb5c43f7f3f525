"""A notebook in one TinyDB file: `notes.py add TEXT...` and `notes.py list`. The newest five notes are kept."""

import sys

from tinydb import TinyDB

KEPT = 5


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
    with TinyDB("notes.json") as notebook:
        if sys.argv[1:2] == ["add"]:
            add(notebook, " ".join(sys.argv[2:]))
        else:
            show(notebook)
