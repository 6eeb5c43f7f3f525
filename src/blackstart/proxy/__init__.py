"""A fault proxy for streams and datagrams: proxies, toxics, and the HTTP API that Toxiproxy's clients drive.

`Proxies` for code with an event loop, `SyncProxies` without; `serve` is the server of the API.
"""

from blackstart.proxy.address import AddressError
from blackstart.proxy.proxies import Proxies
from blackstart.proxy.proxy import Exists, NotFound, Proxy
from blackstart.proxy.record import Record
from blackstart.proxy.serve import ServeOptions, serve
from blackstart.proxy.sync import SyncProxies, SyncProxy
from blackstart.proxy.toxic import Toxic, ToxicError
from blackstart.proxy.wire import ApiError

__all__ = [
    "AddressError",
    "ApiError",
    "Exists",
    "NotFound",
    "Proxies",
    "Proxy",
    "Record",
    "ServeOptions",
    "SyncProxies",
    "SyncProxy",
    "Toxic",
    "ToxicError",
    "serve",
]
