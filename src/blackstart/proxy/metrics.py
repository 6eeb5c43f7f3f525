"""Counters in the text form of Prometheus, with Toxiproxy's names; they count while a connection is open too."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

from blackstart.proxy.proxies import Proxies
from blackstart.proxy.toxic import DOWNSTREAM, UPSTREAM

_RECEIVED, _SENT = "toxiproxy_proxy_received_bytes_total", "toxiproxy_proxy_sent_bytes_total"


def text(proxies: Proxies, *, proxies_too: bool, runtime_too: bool) -> str:
    """The page that GET /metrics shows."""
    lines = [*(_of_proxies(proxies) if proxies_too else ()), *(_of_runtime() if runtime_too else ())]
    return "".join(f"{line}\n" for line in lines)


def _of_proxies(proxies: Proxies) -> Iterator[str]:
    for name, meaning in ((_RECEIVED, "Bytes that came in."), (_SENT, "Bytes that went out.")):
        is_sent = name == _SENT
        yield f"# HELP {name} {meaning}"
        yield f"# TYPE {name} counter"
        for proxy in proxies:
            for direction in (DOWNSTREAM, UPSTREAM):
                labels = {
                    "direction": direction,
                    "listener": proxy.listen,
                    "proxy": proxy.name,
                    "upstream": proxy.upstream,
                }
                shown = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
                closed = proxy.sent if is_sent else proxy.bytes
                links = ((one.sent_bytes(direction), one.link(direction).bytes) for one in proxy.connections)
                yield f"{name}{{{shown}}} {closed[direction] + sum(link[0 if is_sent else 1] for link in links)}"
    yield "# HELP blackstart_toxic_hits_total How often a toxic acted."
    yield "# TYPE blackstart_toxic_hits_total counter"
    for proxy in proxies:
        for toxic in proxy.toxics:
            labelled = f'proxy="{_escaped(proxy.name)}",toxic="{_escaped(toxic.name)}"'
            yield f"blackstart_toxic_hits_total{{{labelled}}} {proxy.hits(toxic)}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _of_runtime() -> Iterator[str]:
    yield "# TYPE python_info gauge"
    yield f'python_info{{implementation="{platform.python_implementation()}",version="{platform.python_version()}"}} 1'
    times = os.times()
    yield "# TYPE process_cpu_seconds_total counter"
    yield f"process_cpu_seconds_total {times.user + times.system:.2f}"
    if os.path.isdir("/proc/self/fd"):
        yield "# TYPE process_open_fds gauge"
        yield f"process_open_fds {len(os.listdir('/proc/self/fd'))}"
