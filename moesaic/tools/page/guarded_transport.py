"""`GuardedTransport`: an httpx transport that reaches public addresses only, whatever names lead to.

Each request is resolved here, every address of its host is checked, and the connection goes to a checked address
itself, not to the name: what the name leads to a moment later does not matter. TLS still shows and checks the name. One
forbidden address among several refuses them all, since honest names have none.

As the check is in the transport, no client, redirect or robots.txt can go past it.
"""

import ssl
from collections.abc import Sequence
from typing import Any

import httpx

from moesaic.errors import PageError
from moesaic.tools.page.address_policy import AddressPolicy, IPAddress, literal_address, port_of, shown_url
from moesaic.tools.page.exchange import plain_transport
from moesaic.tools.page.resolver import Resolver, SystemResolver

__all__ = ["GuardedTransport"]

_TRIED_ADDRESSES = 3


class GuardedTransport(httpx.AsyncBaseTransport):
    """A transport for addresses that someone else chose.

    Args:
        policy: what may be asked; the public internet if not given.
        resolver: what looks names up; the system if not given.
        certificates: authorities to trust; those of httpx if not given.

    Its requests raise `ForbiddenAddressError`, besides the errors of httpx.
    """

    def __init__(
        self,
        *,
        policy: AddressPolicy | None = None,
        resolver: Resolver | None = None,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy or AddressPolicy()
        self._resolver = resolver or SystemResolver()
        self._inner = plain_transport(certificates)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Check, then connect to one of the checked addresses."""
        url = self._policy.check_url(request.url)
        name = url.raw_host.decode("ascii").removesuffix(".")
        literal = literal_address(name)
        addresses = self._checked([literal] if literal else await self._lookup(name, url), url)
        refused: httpx.TransportError | None = None
        tried = addresses[:_TRIED_ADDRESSES]
        extensions = request.extensions | _shared_timeouts(request, len(tried))
        if not literal:
            extensions["sni_hostname"] = name
        for address in tried:
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=str(address)),
                headers=request.headers,  # the Host header names the host, as it must
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return await self._inner.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                refused = error
        assert refused is not None
        raise refused

    async def _lookup(self, name: str, url: httpx.URL) -> Sequence[str]:
        found = await self._resolver.resolve(name, port_of(url))
        if not found:
            raise PageError(f"the host {name!r} has no address: check its name", url=shown_url(url))

        return found

    def _checked(self, addresses: Sequence[str], url: httpx.URL) -> list[IPAddress]:
        return [self._policy.check_address(address, url) for address in addresses]

    async def aclose(self) -> None:
        """Close what is open."""
        await self._inner.aclose()


def _shared_timeouts(request: httpx.Request, attempts: int) -> dict[str, Any]:
    """An address that swallows what is sent to it leaves time for the others."""
    timeouts = request.extensions.get("timeout", {})
    return {"timeout": {**timeouts, "connect": timeouts["connect"] / attempts}} if timeouts.get("connect") else {}
