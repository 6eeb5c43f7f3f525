"""Numbers and bodies as Go reads and writes them."""

from __future__ import annotations

import pytest

from blackstart.proxy.wire import ApiError, decode, float32, new_toxic, proxy_body


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, 1), (0.2, 0.2), (0, 0), (-3, -3), (0.123456789, 0.12345679), (1e30, 1e30), (7.5, 7.5)]
)
def test_toxicity_is_shown_as_a_short_float(value: float, shown: float) -> None:
    assert float32(value) == shown


def test_only_the_first_value_of_a_body_is_read() -> None:
    assert decode(b' {"a": 1} garbage') == {"a": 1}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "EOF"),
        (b"   ", "EOF"),
        (b"{", "unexpected EOF"),
        (b'{"a', "unexpected EOF"),
        (b"[1,", "unexpected EOF"),
        (b"NaN", "invalid character 'N' looking for beginning of value"),
        (b"xyz", "invalid character 'x' looking for beginning of value"),
    ],
)
def test_a_body_that_is_no_json_is_named(body: bytes, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        decode(body)
    assert (caught.value.status, caught.value.what) == (400, f"bad request body: {message}")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"1" * 10_000])
def test_a_hostile_body_is_refused_or_read_and_never_an_error_of_ours(body: bytes) -> None:
    try:
        proxy_body(decode(body))
    except ApiError as error:
        assert error.status == 400


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, True, 1.0, "1", [], {}])
def test_an_attribute_that_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ApiError, match="cannot unmarshal"):
        new_toxic({"type": "latency", "attributes": {"latency": value}})


@pytest.mark.parametrize("body", [b'{"type":"noop","toxicity":1e999}', b'{"type":"noop","toxicity":1e40}'])
def test_a_toxicity_that_no_float_holds_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError, match="of type float32"):
        new_toxic(decode(body))


def test_null_keeps_the_default() -> None:
    toxic = new_toxic(
        {"type": "latency", "attributes": {"latency": None}, "stream": None, "toxicity": None, "name": None}
    )
    assert (toxic.name, toxic.toxicity) == ("latency_downstream", 1)
