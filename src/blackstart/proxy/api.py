"""Toxiproxy's HTTP API as an ASGI application: its routes, statuses, bodies and headers; and routes of our own.

The router is ours because the answers are prescribed to the byte: no slash is redirected, HEAD is no GET, a wrong
method has an empty body. Ours: GET and DELETE /proxies/{proxy}/connections.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.proxy import metrics
from blackstart.proxy.proxies import PopulateError, Proxies, status_of
from blackstart.proxy.wire import ApiError, decode, encode, proxy_out, toxic_out

# The version of Toxiproxy whose API this is; clients compare it.
VERSION = "2.12.0"
BODY_BYTES_MAX, HANDLE_S = 2**23, 25.0
_JSON, _TEXT = "application/json", "text/plain; charset=utf-8"


class Answer(msgspec.Struct):
    """A response."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


class Request(msgspec.Struct):
    """What a handler needs of a request. parts: the names in its path."""

    method: str
    parts: list[str]
    body: bytes
    query: dict[str, list[str]]

    @property
    def proxy(self) -> str:
        """The name of the proxy in the path."""
        return self.parts[1]

    @property
    def toxic(self) -> str:
        """The name of the toxic in the path."""
        return self.parts[3]


Handler = Callable[["Api", Request], Awaitable[Answer]]


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, encode(value), {"content-type": _JSON})


def _failure(error: BlackstartError) -> Answer:
    status = status_of(error)
    if isinstance(error, PopulateError):
        made = [proxy_out(one) for one in error.made] or None
        return _json({"error": error.what, "status": status, "proxies": made}, status)
    body = encode({"error": error.what, "status": status}) + b"\n"
    return Answer(status, body, {"content-type": _TEXT, "x-content-type-options": "nosniff"})


class Api:
    """The application. token: what a client must show, "" for nothing; proxy_metrics, runtime_metrics: what /metrics
    has (neither: there is no such route)."""

    def __init__(
        self, proxies: Proxies, *, token: str = "", proxy_metrics: bool = False, runtime_metrics: bool = False
    ) -> None:
        self.proxies = proxies
        self._token = token
        self.proxy_metrics = proxy_metrics
        self.runtime_metrics = runtime_metrics

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """The ASGI entry point."""
        assert scope["type"] == "http", scope["type"]
        answer = await self._answer(scope, receive)
        headers = {"content-length": str(len(answer.body))} | answer.headers
        if answer.status == 204:
            del headers["content-length"]
        raw = [(key.encode(), value.encode()) for key, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]]) -> Answer:
        path = scope.get("raw_path") or scope["path"].encode()
        parts = [unquote(part) for part in path.decode("latin-1").partition("?")[0].split("/")[1:]]
        methods = self._methods(parts)
        if methods is None:
            return Answer(404, b"404 page not found\n", {"content-type": _TEXT, "x-content-type-options": "nosniff"})
        handler = methods.get(scope["method"]) or methods.get("*")
        if handler is None:
            return Answer(405)
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        answer = self._refusal(headers)
        if answer is None:
            answer = await self._handle(handler, scope, parts, receive)
        answer.headers = answer.headers | {"x-toxiproxy-request-id": os.urandom(10).hex()}
        return answer

    def _methods(self, parts: list[str]) -> dict[str, Handler] | None:
        """The handlers of a path by method."""
        if not parts or any("/" in part or not part for part in parts):  # none at all: `OPTIONS *`
            return None
        kind = (parts[0], len(parts), parts[2] if len(parts) > 2 else "")
        if kind == ("metrics", 1, "") and not (self.proxy_metrics or self.runtime_metrics):
            return None
        return _ROUTES.get(kind)

    def _refusal(self, headers: dict[str, str]) -> Answer | None:
        if headers.get("user-agent", "").startswith("Mozilla/"):
            # A page in a browser could reach a server on loopback.
            plain = {"content-type": _TEXT, "x-content-type-options": "nosniff"}
            return Answer(403, b"User agent not allowed\n", plain)
        shown = headers.get("authorization", "").removeprefix("Bearer ")
        wanted = self._token.encode(errors="surrogateescape")
        if wanted and not hmac.compare_digest(shown.encode("latin-1"), wanted):
            return _failure(ApiError(401, "this server wants its token: Authorization: Bearer TOKEN"))
        return None

    async def _handle(
        self, handler: Handler, scope: dict[str, Any], parts: list[str], receive: Callable[[], Awaitable[Any]]
    ) -> Answer:
        try:
            body = await _body(receive)
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
            request = Request(scope["method"], parts, body, query)
            return await asyncio.wait_for(handler(self, request), HANDLE_S)
        except BlackstartError as error:
            return _failure(error)
        except TimeoutError:
            return Answer(503)


async def _body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ApiError(400, "bad request body: unexpected EOF")
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            raise ApiError(413, f"bad request body: more than {BODY_BYTES_MAX} bytes")
        if not message.get("more_body"):
            return bytes(body)


async def _version(api: Api, request: Request) -> Answer:
    return Answer(200, b'{"version": "%s"}\n' % VERSION.encode(), {"content-type": "application/json;charset=utf-8"})


async def _proxies(api: Api, request: Request) -> Answer:
    return _json({proxy.name: proxy_out(proxy) for proxy in api.proxies})


async def _make_proxy(api: Api, request: Request) -> Answer:
    return _json(proxy_out(await api.proxies.make(decode(request.body), is_strict=False)), 201)


async def _proxy(api: Api, request: Request) -> Answer:
    return _json(proxy_out(api.proxies.get(request.proxy)))


async def _change_proxy(api: Api, request: Request) -> Answer:
    api.proxies.get(request.proxy)
    return _json(proxy_out(await api.proxies.update(request.proxy, decode(request.body), is_strict=False)))


async def _delete_proxy(api: Api, request: Request) -> Answer:
    await api.proxies.delete(request.proxy)
    return Answer(204)


async def _toxics(api: Api, request: Request) -> Answer:
    return _json([toxic_out(one) for one in api.proxies.get(request.proxy).ordered()])


async def _make_toxic(api: Api, request: Request) -> Answer:
    api.proxies.get(request.proxy)
    return _json(toxic_out(await api.proxies.make_toxic(request.proxy, decode(request.body), is_strict=False)))


async def _toxic(api: Api, request: Request) -> Answer:
    return _json(toxic_out(api.proxies.get(request.proxy).toxic(request.toxic)))


async def _change_toxic(api: Api, request: Request) -> Answer:
    api.proxies.get(request.proxy).toxic(request.toxic)
    described = decode(request.body)
    return _json(toxic_out(await api.proxies.change_toxic(request.proxy, request.toxic, described, is_strict=False)))


async def _delete_toxic(api: Api, request: Request) -> Answer:
    await api.proxies.get(request.proxy).remove(request.toxic)
    return Answer(204)


async def _populate(api: Api, request: Request) -> Answer:
    try:
        made = await api.proxies.populate(decode(request.body), is_strict=False)
    except PopulateError:
        raise
    except BlackstartError as error:
        return _failure(PopulateError(error, []))
    return _json({"proxies": [proxy_out(one) for one in made] or None}, 201)


async def _reset(api: Api, request: Request) -> Answer:
    await api.proxies.reset()
    return Answer(204)


async def _connections(api: Api, request: Request) -> Answer:
    return _json([one.as_dict() for one in api.proxies.get(request.proxy).records()])


async def _close_connections(api: Api, request: Request) -> Answer:
    wants_reset = request.query.get("reset", ["0"])[-1] not in ("", "0", "false")
    return _json({"closed": await api.proxies.get(request.proxy).close_connections(wants_reset)})


async def _metrics(api: Api, request: Request) -> Answer:
    text = metrics.text(api.proxies, proxies_too=api.proxy_metrics, runtime_too=api.runtime_metrics)
    return Answer(200, text.encode(), {"content-type": "text/plain; version=0.0.4; charset=utf-8"})


# First part, number of parts, third part -> method -> handler.
_ROUTES: dict[tuple[str, int, str], dict[str, Handler]] = {
    ("version", 1, ""): {"GET": _version},
    ("proxies", 1, ""): {"GET": _proxies, "POST": _make_proxy},
    ("proxies", 2, ""): {"GET": _proxy, "POST": _change_proxy, "PATCH": _change_proxy, "DELETE": _delete_proxy},
    ("proxies", 3, "toxics"): {"GET": _toxics, "POST": _make_toxic},
    ("proxies", 4, "toxics"): {"GET": _toxic, "POST": _change_toxic, "PATCH": _change_toxic, "DELETE": _delete_toxic},
    ("proxies", 3, "connections"): {"GET": _connections, "DELETE": _close_connections},
    ("populate", 1, ""): {"POST": _populate},
    ("reset", 1, ""): {"POST": _reset},
    ("metrics", 1, ""): {"*": _metrics},
}
