"""All proxies by name, where two ask for changes at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from blackstart.proxy.proxies import Proxies
from blackstart.proxy.proxy import NotFound


def test_one_that_is_deleted_while_it_is_replaced_is_replaced_all_the_same() -> None:
    async def job() -> list[str]:
        async with Proxies(seed=1) as proxies:
            body = {"name": "db", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "enabled": False}
            await proxies.populate([body])
            first = proxies.get("db")
            end = first.delete

            async def delete() -> None:
                first.delete = end  # type: ignore[method-assign]
                with suppress(NotFound):
                    await proxies.delete("db")

            first.delete = delete  # type: ignore[method-assign]
            await proxies.populate([body | {"upstream": "127.0.0.1:2"}])
            return [upstream for proxy in proxies for upstream in proxy.upstreams]

    assert asyncio.run(job()) == ["127.0.0.1:2"]
