r"""Text from the target is hostile: it may hold any byte, escape sequences and direction overrides.

Two treatments. For JSON, which knows no lone surrogates, `escape` writes each byte that is not UTF-8 as `\xHH`; so that
this can be undone, a literal `\x` is written `\x5cx`. All other text stays as it is. For people, `plain` makes
everything visible that would move a cursor, change a colour, hide or turn text around.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
# Control characters, marks of direction, invisible characters, line separators, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)


def escape(text: str) -> str:
    r"""The text without surrogates; `unescape` undoes it.

    >>> escape("caf\udce9"), escape(r"\x41"), escape(r"a\n")
    ('caf\\xe9', '\\x5cx41', 'a\\n')
    """
    return _NOT_UTF8.sub(_bytes_as_text, text.replace("\\x", "\\x5cx"))


def unescape(text: str) -> str:
    r"""What `escape` was given: bytes that are not UTF-8 come back as surrogates.

    >>> unescape("caf\\xe9") == "caf\udce9", unescape(r"\x5cx41") == r"\x41"
    (True, True)
    """
    if "\\x" not in text:
        return text
    return _ESCAPED.sub(_text_of_byte, text)


def _text_of_byte(match: re.Match[str]) -> str:
    byte = int(match[1], 16)
    return chr(0xDC00 + byte if byte > 127 else byte)


def _bytes_as_text(match: re.Match[str]) -> str:
    code = ord(match[0])
    raw = bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else match[0].encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def each_string(value: Any, change: Callable[[str], str]) -> Any:
    """The same plain value (dicts, lists, strings, numbers) with `change` applied to every string, keys too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(k) if isinstance(k, str) else k: each_string(v, change) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [each_string(item, change) for item in value]
    return value


def plain(text: str, length_max: int = 2000) -> str:
    r"""One line that is safe to show: what cannot be seen is written as an escape, what is too long is cut.

    >>> plain("red \x1b[31m, caf\udce9\n")
    'red \\x1b[31m, caf\\xe9\\n'
    """
    cut = text if len(text) <= length_max else text[:length_max] + "…"
    return _UNSEEN.sub(_visible, cut)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    named = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}.get(code)
    if named:
        return named
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shell_line(arguments: tuple[str, ...] | list[str]) -> str:
    r"""The arguments as one line for a POSIX shell; bytes and control characters in the `$'…'` form.

    >>> print(shell_line(("sh", "-c", "echo hi", "caf\udce9")))
    sh -c 'echo hi' $'caf\xe9'
    """
    return " ".join(_dollar_quoted(a) if _UNSEEN.search(a) else shlex.quote(a) for a in arguments)


def _dollar_quoted(text: str) -> str:
    def quoted(match: re.Match[str]) -> str:
        character = match[0]
        if character in "\\'":
            return "\\" + character
        if "\udc80" <= character <= "\udcff":
            return f"\\x{ord(character) - 0xDC00:02x}"
        return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))

    body = re.sub(r"[\\']|" + _UNSEEN.pattern, quoted, text)
    # A hexadecimal digit right after an escape is safe: the shells read at most two digits.
    return f"$'{body}'"
