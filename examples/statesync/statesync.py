"""A small roaming protocol: two ends, each with a log that only grows, keep copies of each other's over UDP.

    statesync.py serve PORT         [--entries N] [--expect N] [--every S] [--mistake NAME] --result FILE
    statesync.py connect HOST PORT  (the same options)

A datagram carries how many entries of the other's log its sender has (`have`), and entries of its own from `start` on.
An end sends what is new at once, goes back to what was acknowledged when that stays the same for a while, and says a
word now and then when there is nothing to say. The serving end answers to wherever the newest good datagram came from,
so a client may change its address in mid-transfer. When both ends have everything, or at SIGTERM, each writes both logs
as JSON into the result.

`--mistake` makes one of the classic ones: not-idempotent (what arrives again is taken again), no-sequence (what is
missing in between is not missed), no-address-update (answers go to the first address for ever), no-heartbeat (silence
when there is nothing to say).
"""

from __future__ import annotations

import argparse
import json
import select
import signal
import socket
import time

MISTAKES = ("", "not-idempotent", "no-sequence", "no-address-update", "no-heartbeat")
RESEND_S, HEARTBEAT_S, LINGER_S = 0.15, 0.3, 1.0
ENTRIES_MAX = 20  # of a datagram, so that it fits a packet


class End:
    """One end, without its socket: what it makes of datagrams, and which it sends."""

    def __init__(self, entries: int, expected: int, mistake: str = "") -> None:
        """entries: how many it will write; expected: how many the other one will."""
        self.entries = entries
        self.expected = expected
        self.mistake = mistake
        self.mine: list[str] = []
        self.theirs: list[str] = []
        self.acknowledged = 0  # entries of mine that the other end has
        self.sent = 0  # entries of mine that were sent and, for now, hoped to arrive
        self.serial = 0
        self.newest = -1

    @property
    def is_complete(self) -> bool:
        return len(self.theirs) >= self.expected and self.acknowledged >= self.entries

    def datagram(self) -> bytes:
        """What is new, and what was got."""
        self.serial += 1
        start = self.sent
        entries = self.mine[start : start + ENTRIES_MAX]
        self.sent = start + len(entries)
        told = {"serial": self.serial, "have": len(self.theirs), "start": start, "entries": entries}
        return json.dumps(told).encode()

    def go_back(self) -> None:
        """Nothing came back: begin again with what is known to have arrived."""
        self.sent = self.acknowledged

    def take(self, data: bytes) -> tuple[bool, bool]:
        """(it is the newest so far, it brought something that wants an answer)"""
        try:
            told = json.loads(data)
            serial, have, start = int(told["serial"]), int(told["have"]), int(told["start"])
            entries = [str(entry) for entry in told["entries"]]
        except (ValueError, KeyError, TypeError):
            return False, False
        self.acknowledged = max(self.acknowledged, min(have, len(self.mine)))
        self.sent = max(self.sent, self.acknowledged)
        is_newest, self.newest = serial > self.newest, max(serial, self.newest)
        missing = start - len(self.theirs)
        if missing > 0 and self.mistake != "no-sequence":
            return is_newest, True
        known = 0 if self.mistake == "not-idempotent" else max(0, -missing)
        self.theirs += entries[known:]
        return is_newest, bool(entries)


def talk(end: End, place: socket.socket, peer: tuple[str, int] | None, name: str, every_s: float) -> None:
    """Until all is done, and a little longer for the other end's sake."""
    is_server, begun, spoke, done = peer is None, time.monotonic(), 0.0, 0.0
    known, progress = 0, begun
    while not done or time.monotonic() < done + LINGER_S:
        now = time.monotonic()
        grown = min(end.entries, int((now - begun) / every_s) if every_s else end.entries)
        end.mine += [f"{name}-{number}" for number in range(len(end.mine), grown)]
        if end.acknowledged > known or end.sent == end.acknowledged:
            known, progress = end.acknowledged, now
        elif now - progress > RESEND_S:
            end.go_back()
            progress = now
        has_news = end.sent < len(end.mine) or spoke == 0.0
        is_silent_long = now - spoke > HEARTBEAT_S and end.mistake != "no-heartbeat"
        if peer is not None and (has_news or is_silent_long):
            send(place, end.datagram(), peer)
            spoke = now
        if select.select([place], [], [], 0.01)[0]:
            data, came_from = place.recvfrom(65536)
            is_newest, wants_answer = end.take(data)
            # An old datagram that comes late must not bring an old address back.
            if is_server and is_newest and (peer is None or end.mistake != "no-address-update"):
                peer = came_from
            if wants_answer and peer is not None:
                send(place, end.datagram(), peer)
                spoke = time.monotonic()
        if end.is_complete and not done:
            done = time.monotonic()


def send(place: socket.socket, data: bytes, peer: tuple[str, int]) -> None:
    """A network that is down, or about to have another address, loses it; it will be sent again."""
    try:
        place.sendto(data, peer)
    except OSError:
        pass


def stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=["serve", "connect"])
    parser.add_argument("place", nargs="+", metavar="[HOST] PORT")
    parser.add_argument("--entries", type=int, default=200, help="how many it writes")
    parser.add_argument("--expect", type=int, default=200, help="how many the other one writes")
    parser.add_argument("--every", type=float, default=0.005, metavar="S")
    parser.add_argument("--mistake", choices=MISTAKES, default="")
    parser.add_argument("--result", required=True, metavar="FILE")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    place = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    is_server = wanted.role == "serve"
    if is_server:
        place.bind(("", int(wanted.place[0])))
    peer = None if is_server else (socket.gethostbyname(wanted.place[0]), int(wanted.place[1]))
    end = End(wanted.entries, wanted.expect, wanted.mistake)
    try:
        talk(end, place, peer, "server" if is_server else "client", wanted.every)
    except KeyboardInterrupt:
        pass
    with open(wanted.result, "w", encoding="utf-8") as file:
        json.dump({"mine": end.mine, "theirs": end.theirs, "complete": end.is_complete}, file)


if __name__ == "__main__":
    main()
