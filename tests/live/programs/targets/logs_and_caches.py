"""Counts the words of a text, writes one line to a log, and keeps the answer in a cache that it never trusts."""

import hashlib
import json
import sys

TEXT, CACHE, LOG = "text.txt", "words.cache", "visits.log"


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def count(text: str) -> int:
    key = digest(text)
    try:
        with open(CACHE, "rb") as file:
            kept = json.loads(file.read())
        if kept["seal"] == digest(key, kept["words"]):
            return int(kept["words"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a cache that is not there or not whole is as good as none
    words = len(text.split())
    try:
        with open(CACHE, "w") as file:
            json.dump({"words": words, "seal": digest(key, words)}, file)
    except OSError as error:
        print(f"no cache: {error}", file=sys.stderr)
    return words


def log(line: str) -> None:
    try:
        with open(LOG, "a") as file:
            file.write(line + "\n")
    except OSError as error:
        print(f"no log: {error}", file=sys.stderr)


if __name__ == "__main__":
    try:
        with open(TEXT, encoding="utf-8") as file:
            words = count(file.read())
        log(f"counted {words} words")
        print(f"{words} words", flush=True)
    except (OSError, ValueError) as error:
        sys.exit(f"{TEXT} cannot be counted: {error}")
