"""JSON as Toxiproxy's API reads and writes it: Go's rules for keys, numbers and null, and the errors in its words.

Keys match in any case; unknown keys are ignored; null keeps the default; only the first JSON value is read; a whole
number must be written as one (`100.0` is refused). Beyond it: `toxics`, `upstreams` and `tls` of a proxy, `rule` and
`window` of a toxic.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.core.verbs import near
from blackstart.proxy.address import UDP, network_of
from blackstart.proxy.interfaces import Fault
from blackstart.proxy.tls import Tls
from blackstart.proxy.toxic import DOWNSTREAM, STREAMS, Toxic
from blackstart.proxy.toxics import known

if TYPE_CHECKING:
    from blackstart.proxy.proxy import Proxy

NAME_CHARACTERS_MAX = 1000
STREAMS_ONLY = "tls is of streams only: a proxy that listens at udp: has none"
# Halves of a pair that stand alone, without those that stand for a byte of a file's name.
_HALVES = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bool": (bool,),
    "int64": (int,),
    "float32": (int, float),
    "float64": (int, float),
    "array": (list,),
    "object": (dict,),
}
_GO = {int: "int64", float: "float64", str: "string", bool: "bool"}


class ApiError(BlackstartError):
    """A request that cannot be done. status: of the answer."""

    def __init__(self, status: int, message: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.status = status


class ProxyBody(msgspec.Struct):
    """A proxy as a client describes it; None for what it does not say."""

    name: str | None = None
    listen: str | None = None
    upstream: str | None = None
    enabled: bool | None = None
    toxics: list[Any] | None = None
    upstreams: list[Any] | None = None
    tls: dict[str, Any] | None = None

    @property
    def all_upstreams(self) -> list[str]:
        """The upstreams in the order in which they are tried."""
        return list(self.upstreams or ()) or ([self.upstream] if self.upstream else [])


class ToxicBody(msgspec.Struct):
    """A toxic as a client describes it; None for what it does not say."""

    name: str | None = None
    type: str | None = None
    stream: str | None = None
    toxicity: float | None = None
    attributes: dict[str, Any] | None = None
    rule: str | None = None
    window: str | None = None


_PROXY = {
    "name": "string",
    "listen": "string",
    "upstream": "string",
    "enabled": "bool",
    "toxics": "array",
    "upstreams": "array",
    "tls": "object",
}
_TOXIC = {
    "name": "string",
    "type": "string",
    "stream": "string",
    "toxicity": "float32",
    "attributes": "object",
    "rule": "string",
    "window": "string",
}
_CHANGE = {key: _TOXIC[key] for key in ("toxicity", "attributes")}


def decode(body: bytes) -> Any:
    """The first JSON value in a body; ApiError 400 if there is none."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise _bad("EOF")
    try:
        return json.JSONDecoder(parse_constant=_no_constant).raw_decode(text)[0]
    except json.JSONDecodeError as error:
        if not text[error.pos :].strip() or error.msg.startswith("Unterminated"):
            raise _bad("unexpected EOF") from error
        raise _bad(f"invalid character {text[error.pos]!r} looking for beginning of value") from error
    except (RecursionError, ValueError) as error:
        raise _bad(str(error) or "exceeded max depth") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"invalid character {name[0]!r} looking for beginning of value")


def _bad(message: str) -> ApiError:
    return ApiError(400, f"bad request body: {message}")


def _fields(value: Any, kinds: dict[str, str], what: str) -> dict[str, Any]:
    """The known fields of a JSON object, each of its kind, without those that are null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _bad(f"json: cannot unmarshal {_go_kind(value)} into Go value of type {what}")
    folded = {name.lower(): name for name in kinds}
    found: dict[str, Any] = {}
    for key, given in value.items():
        name = folded.get(key.lower())
        if name is None or given is None:
            continue
        kind = kinds[name]
        fits = isinstance(given, _KINDS[kind]) and (kind == "bool" or not isinstance(given, bool))
        if not fits or not _is_in_range(given, kind):
            raise _bad(f"json: cannot unmarshal {_go_kind(given)} into Go struct field {what}.{name} of type {kind}")
        found[name] = _whole(given)
    return found


def _whole(value: Any) -> Any:
    """A value as Go reads it: half a character becomes the sign for what is none."""
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return {_whole(key): _whole(one) for key, one in value.items()} if isinstance(value, dict) else value


def _is_in_range(value: Any, kind: str) -> bool:
    if kind == "int64":
        return bool(-(2**63) <= value < 2**63)
    # A number that is too large for a float is read as infinity.
    return not kind.startswith("float") or abs(value) < 2**128


def _go_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value}" if abs(value) < 1e15 else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def proxy_body(value: Any) -> ProxyBody:
    """What a client says of a proxy."""
    body = ProxyBody(**_fields(value, _PROXY, "Proxy"))
    if len(body.name or "") > NAME_CHARACTERS_MAX:
        raise ApiError(400, f"a name has at most {NAME_CHARACTERS_MAX} characters")
    if not all(isinstance(one, str) and one for one in body.upstreams or ()):
        raise _bad("json: cannot unmarshal value into Go struct field Proxy.upstreams of type string")
    if body.upstream and body.upstreams and body.upstream not in body.upstreams:
        raise ApiError(400, f"upstream {body.upstream!r} is none of the upstreams: give one of the two")
    return body


def check_proxy(body: ProxyBody, where: str = "") -> None:
    """Refuse a new proxy without its name or without an upstream."""
    if not body.name:
        raise ApiError(400, f"missing required field: name{where}")
    if not body.all_upstreams:
        raise ApiError(400, f"missing required field: upstream{where}")


def tls_of(body: ProxyBody) -> Tls:
    """The TLS settings of a new proxy. Toxiproxy has none: whoever sends them means us, and each key counts."""
    names = [field.name for field in msgspec.structs.fields(Tls)]
    for key in body.tls or {}:
        if key not in names:
            raise ApiError(400, f"proxy {body.name!r}, tls: nobody reads {key!r}{near(key, names)}")
    try:
        tls = msgspec.convert(body.tls or {}, Tls)
    except msgspec.ValidationError as error:
        raise _bad(f"tls: {error}") from error
    if tls != Tls() and network_of(body.listen or "") == UDP:
        raise ApiError(400, STREAMS_ONLY)
    return tls


def new_toxic(value: Any, taken: Iterable[str] = ()) -> Toxic:
    """The toxic that a client describes; its name must not be taken."""
    body = ToxicBody(**_fields(value, _TOXIC, "ToxicWrapper"))
    stream = DOWNSTREAM if body.stream is None else body.stream
    if stream.lower() not in STREAMS:
        raise ApiError(400, "stream was invalid, can be either upstream or downstream")
    kind = known().get(body.type or "")
    if kind is None:
        # The sentence is Toxiproxy's, which its clients know; who writes Python or a config file is told more.
        named = body.type or ""
        step = f"no type {named!r}{near(named, known()) or '; there are ' + ', '.join(sorted(known()))}"
        raise ApiError(400, "invalid toxic type", step)
    name = body.name or f"{body.type}_{stream}"
    if len(name) > NAME_CHARACTERS_MAX:
        raise ApiError(400, f"a name has at most {NAME_CHARACTERS_MAX} characters")
    if name in taken:
        raise ApiError(409, "toxic already exists")
    fault = cast(Fault, merged(kind(), body.attributes))
    toxicity = 1.0 if body.toxicity is None else float(body.toxicity)
    try:
        return Toxic(name, stream, fault, toxicity, body.rule or "", body.window or "")
    except BlackstartError as error:
        raise ApiError(400, error.what) from error


def changed(toxic: Toxic, value: Any) -> tuple[Fault, float]:
    """Attributes and toxicity of a toxic after an update; what the update does not say stays."""
    body = ToxicBody(**_fields(value, _CHANGE, "ToxicWrapper"))
    fault = cast(Fault, merged(cast(msgspec.Struct, toxic.fault), body.attributes))
    return fault, toxic.toxicity if body.toxicity is None else float(body.toxicity)


def merged(fault: msgspec.Struct, attributes: dict[str, Any] | None) -> msgspec.Struct:
    """A toxic's attributes with those that are given."""
    kinds = {one.name: _GO[cast(type, one.type)] for one in msgspec.structs.fields(fault)}
    given = _fields(attributes, kinds, f"{type(fault).__name__}Toxic.attributes")
    return msgspec.structs.replace(fault, **given)


def unread(described: Any) -> list[str]:
    """What a list of proxies that could be read says in vain, a sentence each: keys that nobody reads, a name twice."""
    found: list[str] = []
    names: set[str] = set()
    for one in described or ():
        name = str(proxy_body(one).name)
        if name in names:
            found.append(f"there are two proxies {name!r}, and only the last one is made")
        names.add(name)
        found += _unknown(one, (*_PROXY, "Logger"), f"proxy {name!r}")
        for toxic in proxy_body(one).toxics or ():
            found += unread_toxic(toxic, name)
    return found


def unread_toxic(described: Any, proxy: str) -> list[str]:
    """What a toxic that could be read says in vain, a sentence each. proxy: the name of the one that it is for."""
    body = ToxicBody(**_fields(described, _TOXIC, "ToxicWrapper"))
    return _unread(described, _TOXIC, known()[body.type or ""], f"toxic {body.type} of proxy {proxy!r}")


def unread_change(described: Any, toxic: Toxic, proxy: str) -> list[str]:
    """What an update of this toxic that could be read says in vain, a sentence each."""
    where = f"toxic {toxic.name} of proxy {proxy!r}"
    return _unread(described, _CHANGE, cast(type[msgspec.Struct], type(toxic.fault)), where)


def unread_update(described: Any, proxy: str) -> list[str]:
    """What an update of a proxy that could be read says in vain, a sentence each."""
    return _unknown(described, ("listen", "upstream", "upstreams", "enabled"), f"an update of proxy {proxy!r}")


def _unread(described: Any, fields: Collection[str], kind: type[msgspec.Struct], where: str) -> list[str]:
    attributes = [field.name for field in msgspec.structs.fields(kind)]
    given = ToxicBody(**_fields(described, _CHANGE, "ToxicWrapper")).attributes
    return [
        *_unknown(described, fields, where, attributes),
        *_unknown(given, attributes, f"{where}, attributes"),
    ]


def _unknown(given: Any, names: Collection[str], where: str, nested: Collection[str] = ()) -> list[str]:
    """A sentence for each key that is none of these names. nested: those that belong one level deeper."""
    found: list[str] = []
    for key in given or ():
        if key.lower() not in map(str.lower, names):
            is_nested = key.lower() in map(str.lower, nested)
            meant = f'; did you mean "attributes": {{"{key}": ...}}?' if is_nested else near(key, names)
            found.append(f"{where}: nobody reads {key!r}{meant}")
    return found


def proxy_out(proxy: Proxy) -> dict[str, Any]:
    """A proxy as the API shows it, and what we add only where it is used."""
    shown: dict[str, Any] = {
        "name": proxy.name,
        "listen": proxy.listen,
        "upstream": proxy.upstream,
        "enabled": proxy.enabled,
        "Logger": {},
        "toxics": [toxic_out(one) for one in proxy.ordered()],
    }
    return shown | ({"upstreams": proxy.upstreams} if len(proxy.upstreams) > 1 else {})


def toxic_out(toxic: Toxic) -> dict[str, Any]:
    """A toxic as the API shows it; our two fields only where they are used."""
    shown: dict[str, Any] = {
        "attributes": msgspec.structs.asdict(cast(msgspec.Struct, toxic.fault)),
        "name": toxic.name,
        "type": toxic.fault.type,
        "stream": toxic.stream,
        "toxicity": float32(toxic.toxicity),
    }
    return shown | {key: text for key in ("rule", "window") if (text := getattr(toxic, key))}


def float32(value: float) -> float | int:
    """The shortest number that is this value in 32 bits, as Go prints it; whole where it is whole."""
    try:
        (narrow,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return value
    for digits in range(1, 10):
        short = float(f"{narrow:.{digits}g}")
        if struct.pack("<f", short) == struct.pack("<f", narrow):
            return int(short) if short.is_integer() else short
    return cast(float, narrow)


def encode(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
