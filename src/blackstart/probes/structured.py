"""Files with a grammar: JSON, TOML, INI, CSV, XML, YAML (where a safe loader is installed).

Each parser takes text and yields leaves or raises Unreadable with one sentence. The files are what a broken program
left, so nothing is ever executed or included: no pickle, no YAML tags, no XML entities or document types.
"""

from __future__ import annotations

import configparser
import csv
import importlib
import io
import json
import tomllib
from collections.abc import Callable, Iterator
from typing import Any
from xml.parsers import expat

from blackstart.probes.leaves import Number, flatten, shortened

Parser = Callable[[str], Iterator[tuple[str, str]]]
# As deep as the other parsers go until Python's own limit ends them; after how much text its leaves are taken.
XML_DEPTH_MAX, XML_PIECE = 1000, 1 << 16


class Unreadable(Exception):
    """The text does not follow its grammar."""


def json_leaves(text: str) -> Iterator[tuple[str, str]]:
    try:
        value = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error) or "nested too deep") from None
    return flatten(value)


def toml_leaves(text: str) -> Iterator[tuple[str, str]]:
    try:
        value = tomllib.loads(text, parse_float=Number)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error) or "nested too deep") from None
    return flatten(value)


def ini_leaves(text: str) -> Iterator[tuple[str, str]]:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, default_section="\0")
    try:
        parser.read_string(text)
    except (configparser.Error, ValueError) as error:
        raise Unreadable(str(error).replace("\n", " ")) from None
    except AttributeError:  # of Python before 3.13; later ones say so
        raise Unreadable("a key without a value goes on in the next line") from None
    return flatten({section: dict(parser.items(section)) for section in parser.sections()} or [])


def csv_leaves(text: str) -> Iterator[tuple[str, str]]:
    delimiter = "\t" if text.count("\t") > text.count(",") else ","
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise Unreadable(str(error)) from None
    return ((f"{number}/{column}", cell) for number, row in enumerate(rows, 1) for column, cell in enumerate(row, 1))


def xml_leaves(text: str) -> Iterator[tuple[str, str]]:
    """Elements as `/root/item/2/@name`, text as `/root/item/2`; a position only among equal names."""
    parser = expat.ParserCreate()
    found: list[tuple[str, str]] = []
    stack: list[tuple[str, dict[str, int], list[str]]] = [("", {}, [])]

    def refuse(*_: object) -> None:
        raise Unreadable("it declares a document type; those are not read")

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > XML_DEPTH_MAX:
            raise Unreadable("nested too deep")
        above, counts, _ = stack[-1]
        counts[name] = counts.get(name, 0) + 1
        place = shortened(f"{above}/{name}/{counts[name]}")
        stack.append((place, {}, []))
        found.extend((f"{place}/@{key}", value) for key, value in attributes.items())

    def end(_: str) -> None:
        place, counts, pieces = stack.pop()
        text_inside = "".join(pieces).strip()
        if text_inside or not counts:
            found.append((place, text_inside))

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda piece: stack[-1][2].append(piece)
    parser.StartDoctypeDeclHandler = refuse
    try:
        for at in range(0, len(text), XML_PIECE):
            parser.Parse(text[at : at + XML_PIECE])
            yield from found
            found.clear()
        parser.Parse("", True)
    except expat.ExpatError as error:
        raise Unreadable(str(error)) from None
    yield from found


def yaml_leaves(text: str) -> Iterator[tuple[str, str]]:
    """Needs the optional safe loader; without it the file counts as text (see `available`)."""
    yaml: Any = importlib.import_module("yaml")
    if "&" in text and "*" in text:
        raise Unreadable("it uses aliases, which may grow without bound; they are not read")
    try:
        documents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(str(error).replace("\n", " ") or "nested too deep") from None
    except (LookupError, AttributeError, TypeError):  # the loader's own words for a scalar that its tag does not allow
        raise Unreadable("a value is not of the type that its tag says") from None
    return flatten(documents[0] if len(documents) == 1 else documents)


def _has_yaml() -> bool:
    try:
        importlib.import_module("yaml")
    except ImportError:
        return False
    return True


PARSERS: dict[str, Parser] = {
    "json": json_leaves, "toml": toml_leaves, "ini": ini_leaves, "csv": csv_leaves, "xml": xml_leaves,
}  # fmt: skip
if _has_yaml():
    PARSERS["yaml"] = yaml_leaves
