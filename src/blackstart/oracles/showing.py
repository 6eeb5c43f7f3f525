r"""Values in evidence, short and harmless: what cannot be seen as an escape, many of the same as `\x00×512`.

A file of one long line, or of bytes, says nothing when its beginning is shown: what counts is where two values part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

VALUE_MAX = 60
BYTES_MAX = 12
# So much is shown of what two values have in common before they part.
_COMMON_MAX = 8
_PIECE = re.compile(r"([^ -~])\1{3,}|.", re.DOTALL)
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def short(value: str | None, limit: int = VALUE_MAX) -> str:
    r"""A value for a sentence.

    >>> print(short("\0" * 512 + "end"), short(None), short("a" * 99, 5))
    \x00×512end nothing aaaa…
    """
    if value is None:
        return "nothing"
    # Each piece is a sign at least, so that no more of a long value has to be looked at.
    shown = "".join(islice(_pieces(value), limit + 1))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def short_bytes(data: bytes) -> str:
    r"""The first of some bytes, printable ones as they are.

    >>> print(short_bytes(b"PK\x05\x06" + bytes(18)), short_bytes(b"abcdefghijklmnop"))
    PK\x05\x06\x00×18 abcdefghijkl…
    """
    pieces = list(islice(_pieces(data.decode("latin-1"), "ascii"), BYTES_MAX + 1))
    return "".join(pieces[:BYTES_MAX]) + ("…" if len(pieces) > BYTES_MAX else "")


def apart(have: str | None, want: str | None) -> tuple[str, str, int]:
    """Both values for a sentence, from where they part if that is far in, and the number of that sign, else 0.

    >>> apart("a" * 50 + "b", "a" * 50 + "c" * 20)
    ('…aaaaaaaab', '…aaaaaaaacccccccccccccccccccc', 51)
    >>> apart("x", "y")
    ('x', 'y', 0)
    """
    if have is None or want is None or max(len(have), len(want)) <= VALUE_MAX:
        return short(have), short(want), 0
    at = next((k for k, (a, b) in enumerate(zip(have, want, strict=False)) if a != b), min(len(have), len(want)))
    if at <= VALUE_MAX // 2:
        return short(have), short(want), 0
    start = at - _COMMON_MAX
    return "…" + short(have[start:]), "…" + short(want[start:]), at + 1


def _pieces(text: str, known: str = "utf-8") -> Iterator[str]:
    """One sign after the other, or a run of the same that cannot be seen; known: the encoding of what can be."""
    for match in _PIECE.finditer(text):
        sign = match[0][0]
        if sign.isprintable() and (known != "ascii" or sign.isascii()):
            yield match[0]
        else:
            yield _escape(sign) + (f"×{len(match[0])}" if match[1] else "")


def _escape(sign: str) -> str:
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no text
        code -= 0xDC00
    numbered = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _NAMED.get(sign, numbered)
