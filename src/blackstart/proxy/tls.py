"""TLS ended at the proxy: with given certificates towards the client, with or without TLS towards the upstream.

Passed through, TLS is a stream like any other and needs nothing of this.
"""

from __future__ import annotations

import ssl

import msgspec

from blackstart.proxy.address import AddressError


class Tls(msgspec.Struct, frozen=True):
    """certificate, key: files in PEM form (no key: it is in the certificate's file); upstream: speak TLS there too;
    ca: whom to trust there (""  : nobody is checked)."""

    certificate: str = ""
    key: str = ""
    upstream: bool = False
    ca: str = ""

    def towards_client(self) -> ssl.SSLContext | None:
        """What the proxy shows to clients; None without a certificate."""
        if not self.certificate:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key or None)
        except (OSError, ValueError) as error:
            raise AddressError(
                f"certificate {self.certificate}: {error}", next_step="give files in PEM form"
            ) from error
        return context

    def towards_upstream(self) -> ssl.SSLContext | None:
        """How the proxy speaks with the upstream; None for a plain stream."""
        if not self.upstream:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not self.ca:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            context.load_verify_locations(self.ca)
        except (OSError, ValueError) as error:
            raise AddressError(f"certificates {self.ca}: {error}", next_step="give a file in PEM form") from error
        return context
