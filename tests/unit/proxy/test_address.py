"""Addresses, and wrong ones in the words that clients compare."""

from __future__ import annotations

import pytest

from blackstart.proxy.address import AddressError, parse


@pytest.mark.parametrize(
    "text", ["127.0.0.1:80", "[::1]:80", ":80", "host:0", "udp:127.0.0.1:53", "udp:[::1]:53", "unix:/tmp/a.sock"]
)
def test_an_address_comes_back_as_it_was(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(("text", "port"), [("", 0), ("host:", 0), ("host:http", 80)])
def test_ports_may_be_missing_or_named(text: str, port: int) -> None:
    assert parse(text).port == port


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("local373", "address local373: missing port in address"),
        ("[::1]", "address [::1]: missing port in address"),
        ("::1:80", "address ::1:80: too many colons in address"),
        ("a:99999", "address 99999: invalid port"),
        ("a:123456789012345678901234567890", "address 123456789012345678901234567890: invalid port"),
        (f"{'x' * 64}.example:1", f"lookup {'x' * 64}.example: no such host"),
        ("a..b:1", "lookup a..b: no such host"),
        ("a:no-such-service", "lookup a:no-such-service: unknown port"),
        ("a:\0", "lookup a:\0: unknown port"),
        ("unix:", "address unix:: a unix socket needs a path of at most 107 bytes"),
    ],
)
def test_a_wrong_address_is_named(text: str, message: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse(text)
    assert caught.value.what == message
