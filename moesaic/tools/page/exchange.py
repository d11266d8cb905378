"""One request and its answer, bounded in seconds and bytes: the only way in which tools speak HTTP.

- It talks to an httpx transport itself, without httpx's client: no cookies, no redirects followed, no credentials from
  a netrc file, no proxies from the environment.
- The deadline is one for everything, connecting and the last byte of the body included; it closes the socket.
- No connection outlives its exchange. So nothing has to be closed, an object may be used from several event loops, and
  a connection whose certificate was checked for one host never serves another.
"""

import asyncio
import functools
import ssl
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import Final, cast

import httpx

from moesaic.errors import PageError, PageLimitError
from moesaic.tools.page.address_policy import shown_url
from moesaic.tools.page.body import ACCEPTED_ENCODINGS, read_body
from moesaic.tools.page.budget import SearchBudget

__all__ = ["Answer", "ExchangeLimits", "exchange", "plain_transport", "trusted_certificates"]

_NO_BODY: Final = frozenset({204, 205, 304})


@dataclass(frozen=True, kw_only=True)
class ExchangeLimits:
    """What one exchange may cost."""

    timeout_s: float
    body_bytes: int
    header_bytes: int = 2**15


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer, read whole."""

    status: int
    headers: httpx.Headers
    body: bytes
    """Decompressed; empty where it was not wanted."""


def _always(status: int, headers: httpx.Headers) -> bool:
    return True


async def exchange(
    transport: httpx.AsyncBaseTransport,
    request: httpx.Request,
    limits: ExchangeLimits,
    *,
    budget: SearchBudget | None = None,
    wants_body: Callable[[int, httpx.Headers], bool] = _always,
) -> Answer:
    """Send a request and read its answer.

    Args:
        transport: what carries it.
        request: it.
        limits: what it may cost.
        budget: what the whole request of a caller may cost besides.
        wants_body: whether to read the body, from status and headers; it may raise to refuse the answer.

    Raises:
        PageLimitError: it takes too long, or there are too many bytes.
        PageError: there is no connection, no certificate to trust, or no sound HTTP in it.
        SearchBudgetError: the budget is spent.
    """
    url = shown_url(request.url)
    seconds = limits.timeout_s
    if budget is not None:
        budget.check()
        seconds = min(seconds, budget.remaining_s)
    request.headers["Accept-Encoding"] = ACCEPTED_ENCODINGS
    request.headers["Connection"] = "close"  # keeps httpx from using the connection again, whatever the server says
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
    try:
        async with asyncio.timeout(seconds):
            response = await transport.handle_async_request(request)
            try:
                return await _read(response, limits, budget, wants_body, url)
            finally:
                await response.aclose()
    except (TimeoutError, httpx.TimeoutException) as error:
        if budget is not None:
            budget.check()
        raise PageLimitError(f"{url!r} did not answer within {seconds:.3g} s", url=url) from error
    except httpx.RequestError as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise PageError(f"{url!r} cannot be fetched ({reason[:300]})", url=url) from error


async def _read(
    response: httpx.Response,
    limits: ExchangeLimits,
    budget: SearchBudget | None,
    wants_body: Callable[[int, httpx.Headers], bool],
    url: str,
) -> Answer:
    header_bytes = sum(len(name) + len(value) + 4 for name, value in response.headers.raw)
    if header_bytes > limits.header_bytes:
        raise PageLimitError(f"{url!r} has {header_bytes} bytes of headers, more than {limits.header_bytes}", url=url)

    body = b""
    if response.status_code not in _NO_BODY and wants_body(response.status_code, response.headers):
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and len(announced) < 20 and int(announced) > limits.body_bytes:
            raise PageLimitError(f"{url!r} announces {announced} bytes, more than {limits.body_bytes}", url=url)

        # What an async transport gives is an async stream; httpx types it for both worlds.
        chunks = cast(AsyncIterable[bytes], response.stream)
        encoding = response.headers.get("content-encoding", "")
        counted = {} if budget is None else {"spend": budget.spend_bytes}
        body = await read_body(chunks, encoding=encoding, limit=limits.body_bytes, url=url, **counted)
    return Answer(status=response.status_code, headers=response.headers, body=body)


@functools.cache
def trusted_certificates() -> ssl.SSLContext:
    """The authorities that httpx comes with; made once, since reading them takes tens of milliseconds."""
    return httpx.create_ssl_context(trust_env=False)


def plain_transport(certificates: ssl.SSLContext | None = None) -> httpx.AsyncHTTPTransport:
    """A transport that goes where it is told, for addresses that an operator has configured."""
    return httpx.AsyncHTTPTransport(
        verify=certificates or trusted_certificates(),
        trust_env=False,
        limits=httpx.Limits(max_connections=None),
    )
