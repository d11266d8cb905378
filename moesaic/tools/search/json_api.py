"""One question to a search engine that answers in JSON over HTTP, and what its statuses mean."""

import email.utils
import ipaddress
import json
import math
import time
from collections.abc import Mapping
from datetime import UTC
from typing import Any

import httpx

import moesaic
from moesaic.errors import InputError, PageError, SearchProviderError, SearchRateLimitedError
from moesaic.tools.page.budget import SearchBudget
from moesaic.tools.page.exchange import Answer, ExchangeLimits, exchange, plain_transport
from moesaic.tools.search.api_key import ApiKey
from moesaic.tools.search.result import SearchResult

__all__ = ["JsonApi", "retry_after_s"]

_BODY_BYTES = 4 * 2**20
_SHOWN_CHARACTERS = 200
_TOO_MANY = frozenset({429, 432, 433})  # the last two are Tavily's, for a plan that is used up


class JsonApi:
    """The address of a search engine, as its operator configured it.

    Args:
        provider: name of the engine, for errors.
        endpoint: where it is asked; with a key https, unless it is on this machine.
        key: the key that it asks for, if it does.
        transport: what carries requests; a plain one if not given.

    Raises:
        InputError: the endpoint is no such address.
    """

    def __init__(
        self, provider: str, endpoint: str, *, key: ApiKey | None, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self.endpoint = _checked(provider, endpoint, key)
        self._provider, self._key = provider, key
        self._transport = transport or plain_transport()

    async def ask(
        self,
        *,
        method: str = "GET",
        parameters: Mapping[str, str] | None = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
        budget: SearchBudget | None,
    ) -> dict[str, Any]:
        """The JSON object that the engine answers with.

        Raises:
            SearchRateLimitedError: it wants no more queries for a while.
            SearchProviderError: it cannot be reached, fails, or answers with something else.
            SearchBudgetError: the budget is spent.
        """
        request = httpx.Request(
            method,
            self.endpoint,
            params=parameters,
            json=content,
            headers={
                "Accept": "application/json",
                "User-Agent": f"Moesaic/{moesaic.__version__}",
                **(headers or {}),
            },
        )
        limits = ExchangeLimits(timeout_s=timeout_s, body_bytes=_BODY_BYTES)
        try:
            answer = await exchange(self._transport, request, limits, budget=budget)
        except PageError as error:
            raise self._failure(f"it cannot be asked: {error}") from error

        if answer.status != 200:
            raise self._refusal(answer)

        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise self._failure(f"its answer is no JSON ({error}); it begins {_start(answer)!r}") from error

        if not isinstance(found, dict):
            raise self._failure(f"its answer is no JSON object; it begins {_start(answer)!r}")
        return found

    def results_in(
        self, found: Mapping[str, Any], *path: str, snippet: str, published: str, count: int
    ) -> list[SearchResult]:
        """At most `count` results of the list at `path` of an answer, those without an address left out.

        Args:
            found: the answer.
            path: names that lead to the list; results have a `title`, a `url` and perhaps a `score`.
            snippet: what this engine calls a result's text.
            published: what it calls its date.
            count: most results.

        Raises:
            SearchProviderError: something else stands in the list's place.
        """
        results = [
            SearchResult.of_web(
                title=entry.get("title"),
                url=entry.get("url"),
                snippet=entry.get(snippet),
                rank=rank,
                provider=self._provider,
                published=entry.get(published),
                score=entry.get("score"),
            )
            for rank, entry in enumerate(self._entries(found, path), start=1)
        ]
        return [result for result in results if result is not None][:count]

    def _entries(self, found: Mapping[str, Any], path: tuple[str, ...]) -> list[dict[str, Any]]:
        value: Any = found
        for name in path:
            if not isinstance(value, Mapping):
                raise self._failure(f"its answer has {type(value).__name__} where {name!r} should be looked for")
            value = value.get(name)
            if value is None:
                return []
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self._failure(f"its answer has no list of results at {'.'.join(path)}")
        return value

    def _refusal(self, answer: Answer) -> SearchProviderError:
        said = f"it answered with status {answer.status}: {_start(answer)!r}"
        if answer.status in _TOO_MANY:
            message = f"{self._provider}: {self._struck(said)}"
            return SearchRateLimitedError(message, provider=self._provider, retry_after_s=retry_after_s(answer.headers))
        if answer.status in (401, 403) and self._key is not None:
            said += f"; check the key in {self._key.source}"
        return self._failure(said)

    def _failure(self, reason: str) -> SearchProviderError:
        return SearchProviderError(f"{self._provider}: {self._struck(reason)}", provider=self._provider)

    def _struck(self, text: str) -> str:
        return text if self._key is None else self._key.struck_from(text)


def retry_after_s(headers: httpx.Headers) -> float | None:
    """How long an answer asks to wait; None if it does not say.

    `Retry-After` is seconds or a date (RFC 9110, 10.2.3). Without it, `X-RateLimit-Reset` with
    `X-RateLimit-Remaining` say for each of several windows when it ends and what is left in it: the longest counts of
    those in which nothing is left.
    """
    given = headers.get("retry-after", "").strip()
    if given.isdecimal() and len(given) < 10:
        return float(given)
    if given:
        try:
            date = email.utils.parsedate_to_datetime(given)
            return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError):
            return None

    left = _numbers(headers.get("x-ratelimit-remaining", ""))
    resets = _numbers(headers.get("x-ratelimit-reset", ""))
    if len(left) != len(resets):
        return None

    return max((reset for count, reset in zip(left, resets, strict=True) if count <= 0), default=None)


def _numbers(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")] if text else []
    except ValueError:
        return []

    return found if all(map(math.isfinite, found)) else []


def _start(answer: Answer) -> str:
    return " ".join(answer.body[: 4 * _SHOWN_CHARACTERS].decode("utf-8", errors="replace").split())[:_SHOWN_CHARACTERS]


def _checked(provider: str, endpoint: str, key: ApiKey | None) -> httpx.URL:
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL as error:
        raise InputError(f"{provider}: {endpoint[:200]!r} is no address ({error})") from error

    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise InputError(f"{provider}: {endpoint[:200]!r} must be http:// or https:// with a host, and no user name")
    if key is not None and url.scheme == "http" and not _is_loopback(url.host):
        raise InputError(f"{provider}: a key goes over https alone, not to {endpoint[:200]!r}")

    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
