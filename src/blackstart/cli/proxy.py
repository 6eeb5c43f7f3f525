"""`blackstart proxy`: what it prints; the server stands in blackstart.proxy."""

from __future__ import annotations

import asyncio

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from blackstart.core.units import format_size
from blackstart.proxy import Proxies, ServeOptions, serve
from blackstart.proxy.toxic import DOWNSTREAM, UPSTREAM
from blackstart.report.text import plain

REFRESH_S = 0.25


def run(options: ServeOptions, live: bool) -> int:
    """Serve until a signal comes; the exit status."""
    console = Console(highlight=False, soft_wrap=True)

    def began(url: str, seed: int, count: int) -> None:
        console.print(
            f"API of Toxiproxy at {url}, {count} {'proxy' if count == 1 else 'proxies'}, seed {seed}", markup=False
        )
        if options.no_token:
            console.print("anybody who reaches this address may use it: --no-token", markup=False)

    async def watch(proxies: Proxies) -> None:
        with Live(console=console, auto_refresh=False) as shown:
            while True:
                shown.update(table(proxies), refresh=True)
                await asyncio.sleep(REFRESH_S)

    serve(options, began, watch if live else None)
    return 0


def table(proxies: Proxies) -> Table:
    """The proxies as they are now."""
    made = Table()
    for title in ("proxy", "from", "to", "state", "open", "up", "down", "toxics: hits"):
        made.add_column(title, overflow="fold")
    for proxy in proxies:
        open_now = list(proxy.connections)
        passed = {
            way: proxy.bytes[way] + sum(one.link(way).bytes for one in open_now) for way in (UPSTREAM, DOWNSTREAM)
        }
        toxics = ", ".join(f"{one.name}: {proxy.hits(one)}" for one in proxy.ordered())
        cells = (
            proxy.name,
            proxy.listen,
            ", ".join(proxy.upstreams),
            "on" if proxy.enabled else "off",
            str(len(open_now)),
            format_size(passed[UPSTREAM]),
            format_size(passed[DOWNSTREAM]),
            toxics,
        )
        # Names come from whoever drives the API: no markup, no control characters.
        made.add_row(*(Text(plain(cell)) for cell in cells))
    return made
