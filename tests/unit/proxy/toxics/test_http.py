"""http changes answers of a server."""

from __future__ import annotations

import pytest

from blackstart.proxy.toxics.http import Http
from tests.unit.proxy.stage import passed, removed

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"
ANSWER = HEAD + b"hello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"
ALL = [ANSWER, CHUNKED, EMPTY, ANSWER]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_every_answer_of_a_connection_gets_the_status(size: int) -> None:
    joined = b"".join(ALL)
    stand = passed(Http(status=503), *(joined[at : at + size] for at in range(0, len(joined), size)))
    expected = joined.replace(b"200 OK", b"503 Service Unavailable").replace(
        b"204 No Content", b"503 Service Unavailable"
    )
    assert stand.sink.data == expected
    assert stand.pipe.hits == 4


def test_a_status_that_nobody_knows() -> None:
    assert passed(Http(status=799), ANSWER).sink.data.startswith(b"HTTP/1.1 799 Changed\r\n")


def test_headers_are_replaced_and_added() -> None:
    stand = passed(Http(headers="content-type: text/html\nRetry-After: 9"), ANSWER)
    assert stand.sink.data == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-type: text/html\r\nRetry-After: 9\r\n\r\nhello"
    )


@pytest.mark.parametrize(("size", "seen"), [(0, HEAD), (2, HEAD + b"he"), (5, ANSWER)])
def test_a_body_is_cut_and_the_connection_closed(size: int, seen: bytes) -> None:
    stand = passed(Http(body=size), HEAD, b"he", b"llo")
    assert stand.sink.data == seen
    assert stand.sink.ended == ("fin" if size == 5 else "close")


def test_each_answer_has_its_own_count() -> None:
    assert passed(Http(body=5), *[ANSWER] * 3).sink.data == ANSWER * 3


def test_a_slow_body_arrives_whole() -> None:
    stand = passed(Http(body_delay=5), HEAD, b"hel", b"lo")
    assert (stand.sink.data, stand.pipe.hits) == (ANSWER, 2)


def test_a_body_that_ends_with_the_connection() -> None:
    data = b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 500 not a head\r\n\r\n"
    assert passed(Http(status=404), data).sink.data == data.replace(b"200 OK", b"404 Not Found")


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n\r\n", b"H", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_answer_passes_untouched(data: bytes) -> None:
    assert passed(Http(status=503), data).sink.data == data


@pytest.mark.parametrize("size", [b"zz", b"fffffffff"])
def test_a_wrong_or_vast_chunk_passes_untouched(size: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nrest"
    assert passed(Http(body=100), data, b"more").sink.data == data + b"more"


def test_half_a_head_is_not_lost() -> None:
    assert removed(Http(status=503), HEAD[:20]).sink.data == HEAD[:20]
