"""Uses and asks the line server: `work` puts five ids, `check` asks for all."""

import json
import socket
import sys

from blackstart.testing import report


def ask(line):
    with socket.create_connection(("127.0.0.1", 8125), timeout=5) as sock:
        sock.sendall(line.encode() + b"\n")
        answer = sock.makefile().readline()
    if not answer:
        raise ConnectionError("no answer")
    return answer.strip()


if sys.argv[1] == "work":
    for number in range(5):
        with report(f"item-{number}"):
            if ask(f"put item-{number}") != "stored":
                raise ValueError("refused")
else:
    for item in json.loads(ask("all")):
        print("have", item)
