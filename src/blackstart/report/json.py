"""The JSON report: written, read back, and its published schema.

Every string is escaped (see `report.text`), because JSON has no place for bytes that are not UTF-8; reading undoes it.
The schema is generated from the structs and kept as a file, so that a change of the form is seen in a diff.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.report.model import SCHEMA, Report
from blackstart.report.text import each_string, escape, unescape

SCHEMA_FILE = "report.schema.json"


def encode(report: Report, *, pretty: bool = False) -> bytes:
    """The report as JSON, UTF-8."""
    raw = encode_plain(report)
    return msgspec.json.format(raw, indent=2) + b"\n" if pretty else raw


def render(report: Report) -> bytes:
    """The report as it is written to a file."""
    return encode(report, pretty=True)


def encode_plain(value: object) -> bytes:
    """Any struct or plain value as JSON, its strings escaped: for what is kept beside a report (options, a finding)."""
    return msgspec.json.encode(each_string(msgspec.to_builtins(value), escape))


def decode(raw: bytes, *, where: str = "") -> Report:
    """The report that `encode` wrote; an error names the path inside it."""
    value = decode_plain(raw, where=where)
    try:
        return msgspec.convert(each_string(value, unescape), Report)
    except msgspec.ValidationError as error:
        raise BlackstartError(
            f"this report does not have the form {SCHEMA}: {error}", where=where, next_step="write it again with --json"
        ) from error


def decode_plain(raw: bytes, *, where: str = "") -> dict[str, Any]:
    """The report as plain dicts and lists, strings still escaped; refuses what is not a blackstart report."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BlackstartError(
            f"this is not JSON: {error}", where=where, next_step="give a report that `blackstart run --json` wrote"
        ) from error
    schema = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(schema, str) or not schema.startswith("blackstart-report/"):
        raise BlackstartError(
            "this is not a report of blackstart: it has no `schema`",
            where=where,
            next_step="give a report that `blackstart run --json` wrote",
        )
    if schema != SCHEMA:
        raise BlackstartError(
            f"this report has the form {schema}, this version reads {SCHEMA}",
            where=where,
            next_step="use the version of blackstart that wrote it (field `version`), or run again",
        )
    return value


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of the report, generated from the structs."""
    generated = msgspec.json.schema(Report)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        "title": "blackstart report",
        "description": (
            "One run of blackstart. In every string, keys included, a byte that is not UTF-8 is written \\xHH (two "
            "lower-case hexadecimal digits), and a literal \\x is written \\x5cx; nothing else is escaped beyond JSON."
        ),
        **generated,
    }


def schema_text() -> str:
    """The schema as it is published."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"


def published_schema() -> str:
    """The schema file that ships with the package."""
    return resources.files("blackstart.report").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
