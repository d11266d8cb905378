"""`PageFetcher`: from an address that a model or a search engine named to the text of the page, or a typed refusal.

What it does not do: run scripts, keep cookies, send credentials or a referer, use the environment's proxies, follow a
redirect from https to http, or open anything that is not text.
"""

import asyncio
import hashlib
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import httpx

from moesaic.errors import ForbiddenAddressError, PageError, PageLimitError
from moesaic.tools.page.address_policy import AddressPolicy, shown_url
from moesaic.tools.page.blocking import run_blocking
from moesaic.tools.page.budget import SearchBudget
from moesaic.tools.page.exchange import Answer, ExchangeLimits, exchange
from moesaic.tools.page.fetch_options import FetchOptions
from moesaic.tools.page.guarded_transport import GuardedTransport
from moesaic.tools.page.media_type import MediaType, check_text
from moesaic.tools.page.page import Page
from moesaic.tools.page.page_text import PageText
from moesaic.tools.page.resolver import Resolver
from moesaic.tools.page.robots import ROBOTS_BYTES, HostPace, Robots

__all__ = ["PageFetcher"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ROBOTS_REDIRECTS = 5


class PageFetcher:
    """Fetches and reads pages. Threads and event loops may share one; `close` it, or use it in a `with` block.

    Args:
        options: bounds and manners.
        policy: which addresses may be asked; the public internet if not given.
        resolver: what looks names up; the system if not given.
        certificates: authorities to trust for https; those of httpx if not given.
        transport: what carries requests in the place of a guarded one, such as a `Recording` around it, or a replay.
        clock: seconds that never go back.
        sleep: waits for one's turn at a host.
    """

    def __init__(
        self,
        options: FetchOptions | None = None,
        *,
        policy: AddressPolicy | None = None,
        resolver: Resolver | None = None,
        certificates: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.options = options or FetchOptions()
        self._policy = policy or AddressPolicy()
        self._transport = transport or GuardedTransport(
            policy=self._policy, resolver=resolver, certificates=certificates
        )
        self._robots = Robots(self.options, clock)
        self._pace = HostPace(clock)
        self._text = PageText(self.options)
        self._clock, self._sleep = clock, sleep

    async def afetch(self, url: str, *, budget: SearchBudget | None = None) -> Page:
        """Fetch a page and read it.

        Args:
            url: its address, http or https.
            budget: what the caller's request may still spend.

        Raises:
            ForbiddenAddressError: the address, or one that it redirects to, may not be asked.
            RobotsError: its host does not want it read by programs.
            PageLimitError: it is too large, too slow or too many redirects away.
            UnreadablePageError: it is no text, or damaged.
            PageError: it cannot be reached, or was answered with an error.
            SearchBudgetError: the budget is spent.
        """
        deadline = self._clock() + self.options.timeout_s
        asked = self._policy.check_url(url)
        way, answer = await self._follow(asked, deadline, budget)
        found = way[-1]
        media_type = MediaType.of(answer.headers, answer.body, shown_url(found))
        within_s = min(self._remaining(found, deadline), self.options.reading_timeout_s)
        said = await self._text.read(answer.body, media_type, url=shown_url(found), timeout_s=within_s)
        return Page(
            url=url,
            final_url=str(found),
            title=said.title,
            text=said.text,
            truncated=said.truncated,
            published=said.published,
            media_type=media_type.name,
            charset=said.charset,
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
            sha256=hashlib.sha256(answer.body).hexdigest(),
            byte_count=len(answer.body),
            redirects=tuple(map(str, way[1:-1])),
        )

    def fetch(self, url: str, *, budget: SearchBudget | None = None) -> Page:
        """As `afetch`, for callers without an event loop."""
        return run_blocking(lambda: self.afetch(url, budget=budget))

    def close(self) -> None:
        """End the process that reads pages."""
        self._text.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _follow(
        self, url: httpx.URL, deadline: float, budget: SearchBudget | None
    ) -> tuple[list[httpx.URL], Answer]:
        """The addresses on the way to a page, the last of which is its own, and its answer."""
        way: list[httpx.URL] = []
        for _ in range(self.options.redirects + 1):
            if url in way:
                raise PageError(f"{shown_url(url)!r} is redirected to itself, in a circle", url=shown_url(url))

            new_host = not way or way[-1].host != url.host
            way.append(url)
            await self._ask_leave(url, deadline, budget, new_host=new_host)
            answer = await self._send(url, deadline, budget, self.options.body_bytes, _wants_page)
            if 200 <= answer.status < 300 and answer.status != 204:
                return way, answer

            if answer.status not in _REDIRECTS:
                raise PageError(f"{shown_url(url)!r} was answered with status {answer.status}", url=shown_url(url))

            url = self._redirected(url, answer)
        raise PageLimitError(
            f"{shown_url(way[0])!r} is more than {self.options.redirects} redirects away", url=shown_url(url)
        )

    def _redirected(self, url: httpx.URL, answer: Answer) -> httpx.URL:
        shown = shown_url(url)
        location = answer.headers.get("location", "")
        try:
            joined = url.join(location) if location else None
        except (httpx.InvalidURL, ValueError) as error:
            raise PageError(f"{shown!r} redirects to {location[:200]!r}, which is no address", url=shown) from error

        if joined is None:
            raise PageError(f"{shown!r} was answered with status {answer.status}, but not where to go", url=shown)

        target = self._policy.check_url(joined)
        if url.scheme == "https" and target.scheme == "http":
            raise ForbiddenAddressError(
                f"{shown!r} redirects from https to {shown_url(target)!r}: ask for that address itself if it will do",
                url=shown,
            )

        return target

    async def _ask_leave(self, url: httpx.URL, deadline: float, budget: SearchBudget | None, *, new_host: bool) -> None:
        """Check robots.txt and wait for one's turn. A redirect within a host waits no second time."""

        async def fetch_robots(target: httpx.URL) -> Answer:
            return await self._fetch_robots(target, deadline, budget)

        delay_s = await self._robots.check(url, fetch_robots) if self.options.heeds_robots else 0.0
        if new_host:
            left_s = self._remaining(url, deadline)
            if budget is not None:
                left_s = min(left_s, budget.remaining_s)
            wait_s = self._pace.reserve(
                url.host, max(delay_s, self.options.host_delay_s), within_s=left_s, url=shown_url(url)
            )
            if wait_s > 0:
                await self._sleep(wait_s)

    async def _fetch_robots(self, url: httpx.URL, deadline: float, budget: SearchBudget | None) -> Answer:
        for _ in range(_ROBOTS_REDIRECTS + 1):
            answer = await self._send(url, deadline, budget, ROBOTS_BYTES, _wants_robots)
            if answer.status not in _REDIRECTS:
                return answer

            url = self._redirected(url, answer)
        raise PageError(f"more than {_ROBOTS_REDIRECTS} redirects", url=shown_url(url))

    async def _send(
        self,
        url: httpx.URL,
        deadline: float,
        budget: SearchBudget | None,
        body_bytes: int,
        wants_body: Callable[[str, int, httpx.Headers], bool],
    ) -> Answer:
        request = httpx.Request(
            "GET",
            url,
            headers={
                "User-Agent": self.options.user_agent,
                "Accept": "text/html,application/xhtml+xml,text/plain,application/json;q=0.9,text/*;q=0.8",
            },
        )
        limits = ExchangeLimits(
            timeout_s=self._remaining(url, deadline), body_bytes=body_bytes, header_bytes=self.options.header_bytes
        )
        shown = shown_url(url)
        return await exchange(
            self._transport,
            request,
            limits,
            budget=budget,
            wants_body=lambda status, headers: wants_body(shown, status, headers),
        )

    def _remaining(self, url: httpx.URL, deadline: float) -> float:
        left_s = deadline - self._clock()
        if left_s <= 0:
            raise PageLimitError(
                f"{shown_url(url)!r} was not fetched within {self.options.timeout_s:g} s", url=shown_url(url)
            )

        return left_s


def _wants_page(url: str, status: int, headers: httpx.Headers) -> bool:
    if not 200 <= status < 300:
        return False

    check_text(headers, url)
    return True


def _wants_robots(url: str, status: int, headers: httpx.Headers) -> bool:
    return status == 200
