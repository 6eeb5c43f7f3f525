"""The server of the API: uvicorn in the event loop of the proxies."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import resource
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.proxy import listener
from blackstart.proxy.address import TCP, Address, AddressError, of_socket
from blackstart.proxy.api import Api
from blackstart.proxy.proxies import PopulateError, Proxies
from blackstart.proxy.toxic import out_of_range
from blackstart.proxy.wire import unread

log = logging.getLogger("blackstart.proxy")


class ServeOptions(msgspec.Struct, frozen=True):
    """host, port: of the API; config: a JSON file with the list that /populate takes; seed: None for a fresh one;
    token: what clients must show; no_token: none is wanted, even where others can reach the API."""

    host: str = "127.0.0.1"
    port: int = 8474
    config: str = ""
    seed: int | None = None
    token: str = ""
    no_token: bool = False
    proxy_metrics: bool = False
    runtime_metrics: bool = False


Watch = Callable[[Proxies], Coroutine[Any, Any, None]]


def serve(options: ServeOptions, began: Callable[[str, int, int], None], watch: Watch | None = None) -> None:
    """Serve until SIGINT or SIGTERM. began: told the URL, the seed and how many proxies there are, once it listens;
    watch: runs beside it."""
    _check_host(options)
    _raise_limit()
    _run(_serve(options, began, watch))


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


def _check_host(options: ServeOptions) -> None:
    try:
        is_loopback = options.host == "localhost" or ipaddress.ip_address(options.host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback and not options.token and not options.no_token:
        raise BlackstartError(
            f"whoever reaches {options.host} could open connections through this machine",
            next_step="give --token TOKEN, which clients show as Authorization: Bearer TOKEN, or say --no-token",
        )


def _raise_limit() -> None:
    """Two descriptors a connection: the usual soft limit would end at 500."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(options: ServeOptions, began: Callable[[str, int, int], None], watch: Watch | None) -> None:
    try:
        import uvicorn
    except ImportError as error:
        raise BlackstartError(
            "the HTTP API needs uvicorn, which is not installed", next_step="pip install 'blackstart[proxy]'"
        ) from error

    class Server(uvicorn.Server):
        """Leaves signals to us: uvicorn raises them again at its end."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    sock = await _bind(options)
    async with Proxies(options.seed) as proxies:
        await _populate(proxies, options.config)
        api = Api(
            proxies,
            token=options.token,
            proxy_metrics=options.proxy_metrics,
            runtime_metrics=options.runtime_metrics,
        )
        config = uvicorn.Config(
            api,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
        server = Server(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        began(f"http://{of_socket(sock, TCP)}", proxies.seed.number, len(list(proxies)))
        watching = loop.create_task(watch(proxies)) if watch is not None else None
        await server.serve(sockets=[sock])
        if watching is not None:
            watching.cancel()
            await asyncio.wait({watching})


async def _bind(options: ServeOptions) -> socket.socket:
    try:
        return await listener.bind(Address(TCP, options.host, options.port))
    except AddressError as error:
        is_host = error.what.endswith(("no such host", "cannot assign requested address"))
        raise BlackstartError(
            f"the API cannot listen at {options.host}:{options.port}: {error.what}",
            next_step="give --host an address of this machine"
            if is_host
            else "choose another --port; 0 takes a free one",
        ) from error


async def _populate(proxies: Proxies, config: str) -> None:
    if not config:
        return
    try:
        described = json.loads(Path(config).read_bytes())
    except OSError as error:
        raise BlackstartError(f"{config} cannot be read: {error.strerror}", where=config) from error
    except (ValueError, RecursionError) as error:
        raise BlackstartError(f"{config} is no JSON: {error}", where=config) from error
    try:
        await proxies.populate(described, is_strict=False)
        for sentence in unread(described):
            log.warning("%s: %s", config, sentence)
    except PopulateError as error:
        failed = len(error.made) + 1
        raise BlackstartError(f"proxy {failed} of {config}: {error.what}", where=config) from error
    except BlackstartError as error:
        step = error.next_step or 'write it like [{"name": "db", "upstream": "127.0.0.1:5432"}]'
        raise BlackstartError(error.what, where=config, next_step=step) from error
    for proxy in proxies:
        for toxic in proxy.toxics:
            if wrong := out_of_range(toxic.fault, toxic.toxicity, proxy.listen):
                raise BlackstartError(f"toxic {toxic.name} of proxy {proxy.name!r}: {wrong}", where=config)
