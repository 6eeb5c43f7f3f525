"""Our resolver: messages as RFC 1035 has them, and each way of being broken."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from blackstart.proxy.resolver import HOWS, MUTE, NXDOMAIN, SERVFAIL, SLOW, WRONG, NotAQuestion, Resolver, answer_to


def question(name: str, kind: int = 1, number: int = 7) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def read(answer: bytes) -> tuple[int, int, bytes]:
    """(number, status, address)"""
    number, flags, questions, answers, _, _ = struct.unpack_from(">6H", answer)
    assert flags & 0x8080 == 0x8080 and questions == 1
    return number, flags & 15, answer[-4:] if answers else b""


@pytest.mark.parametrize(
    ("kind", "how", "status", "address"),
    [
        (1, "", 0, "127.0.0.1"),
        (28, "", 0, ""),
        (12, "", 3, ""),
        (1, SLOW, 0, "127.0.0.1"),
        (1, WRONG, 0, "192.0.2.1"),
        (1, NXDOMAIN, 3, ""),
        (28, NXDOMAIN, 3, ""),
        (1, SERVFAIL, 2, ""),
    ],
)
def test_each_answer(kind: int, how: str, status: int, address: str) -> None:
    asked = question("db.example", kind)
    answer = answer_to(asked, how)
    assert read(answer) == (7, status, socket.inet_aton(address) if address else b"")
    assert asked[12:] in answer


@pytest.mark.parametrize(
    ("kind", "how", "address"),
    [(1, "", "10.1.2.3"), (28, "", "2001:db8::1"), (1, WRONG, "192.0.2.1"), (28, WRONG, ""), (1, NXDOMAIN, "")],
)
def test_a_name_that_is_known_means_its_own_addresses(kind: int, how: str, address: str) -> None:
    answer = answer_to(question("db.example", kind), how, ("10.1.2.3", "10.1.2.4", "2001:db8::1"))
    raw = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address) if address else b""
    assert answer.endswith(raw) and bool(struct.unpack_from(">H", answer, 6)[0]) == bool(address)


@pytest.mark.parametrize(
    "data",
    [b"", b"x" * 11, question("a")[:-3], answer_to(question("a")), question("a")[:12] + b"\xc0\x0c" * 5],
)
def test_what_is_no_question_is_not_answered(data: bytes) -> None:
    with pytest.raises(NotAQuestion):
        answer_to(data)


@pytest.mark.parametrize("how", [MUTE, NXDOMAIN, SERVFAIL])
def test_it_breaks_from_the_nth_question_on_until_it_is_healed(how: str) -> None:
    async def main() -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        place = sock.getsockname()
        resolver = Resolver()
        await resolver.serve(sock)
        resolver.breaks(how, 2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()

            async def ask() -> int:
                client.sendto(b"nonsense", place)
                client.sendto(question("a.b"), place)
                try:
                    return read(await asyncio.wait_for(loop.sock_recv(client, 512), 0.3 if how == MUTE else 5))[1]
                except TimeoutError:
                    return -1

            bad = {MUTE: -1, NXDOMAIN: 3, SERVFAIL: 2}[how]
            assert [await ask(), await ask(), await ask()] == [0, bad, bad]
            assert (resolver.asked, resolver.hits, resolver.hit.is_set()) == (3, 2, True)
            resolver.heal()
            assert await ask() == 0
        resolver.close()

    assert how in HOWS
    asyncio.run(main())
