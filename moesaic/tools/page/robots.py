"""robots.txt (RFC 9309), as protego reads it, and the pace at which a host is asked.

- An answer of 4xx means that there are no rules; a host that fails (5xx, 429, no connection) has said nothing, and is
  left alone until it is asked again.
- `Crawl-delay` and `Request-rate` are heeded up to a bound. Waiting is reserved in advance, so that tasks and threads
  that ask one host queue up.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import httpx
from protego import Protego

from moesaic.errors import ForbiddenAddressError, PageError, PageLimitError, RobotsError
from moesaic.tools.page.address_policy import shown_url
from moesaic.tools.page.exchange import Answer
from moesaic.tools.page.fetch_options import FetchOptions

__all__ = ["ROBOTS_BYTES", "HostPace", "Robots"]

ROBOTS_BYTES = 2**19
"""Most bytes of a robots.txt; RFC 9309 asks for at least 500 KiB."""

_REMEMBERED_HOSTS = 1000
_FAILURE_TTL_S = 60.0


class _Rules(NamedTuple):
    expires: float
    rules: Protego | None
    """None where the host has failed to say."""
    reason: str


class Robots:
    """What hosts ask of programs, remembered for a while."""

    def __init__(self, options: FetchOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._known: OrderedDict[str, _Rules] = OrderedDict()
        self._lock = threading.Lock()

    async def check(self, url: httpx.URL, fetch: Callable[[httpx.URL], Awaitable[Answer]]) -> float:
        """Ask whether a page may be read; give the seconds between requests that its host asks for, 0 for none.

        Args:
            url: the page.
            fetch: fetches a robots.txt, within its bounds.

        Raises:
            RobotsError: it may not be read, or its host does not say.
            PageError: the errors of `fetch` that do not depend on the host's rules.
        """
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        known = self._known.get(origin)
        if known is None or known.expires <= self._clock():
            known = await self._ask(url, fetch)
            with self._lock:
                self._known[origin] = known
                self._known.move_to_end(origin)
                while len(self._known) > _REMEMBERED_HOSTS:
                    self._known.popitem(last=False)
        if known.rules is None:
            raise RobotsError(f"{shown_url(url)!r} is not read: {known.reason}; try later", url=shown_url(url))
        if not known.rules.can_fetch(str(url), self._options.robots_name):
            raise RobotsError(
                f"{shown_url(url)!r} is not read: {origin}/robots.txt does not want programs there", url=shown_url(url)
            )

        delay = known.rules.crawl_delay(self._options.robots_name) or 0.0
        rate = known.rules.request_rate(self._options.robots_name)
        if rate is not None and rate.requests > 0:
            delay = max(delay, rate.seconds / rate.requests)
        return min(delay, self._options.max_host_delay_s)

    async def _ask(self, url: httpx.URL, fetch: Callable[[httpx.URL], Awaitable[Answer]]) -> _Rules:
        later = self._clock() + min(_FAILURE_TTL_S, self._options.robots_ttl_s)
        try:
            answer = await fetch(url.copy_with(raw_path=b"/robots.txt"))
        except (ForbiddenAddressError, PageLimitError):
            raise  # these say something about the address or the caller's time, nothing about the host's rules
        except PageError as error:
            return _Rules(later, None, f"its robots.txt cannot be had ({error})")

        if answer.status == 429 or answer.status >= 500:
            return _Rules(later, None, f"its robots.txt was answered with status {answer.status}")

        content = answer.body.decode("utf-8", errors="replace") if answer.status == 200 else ""
        rules = await asyncio.to_thread(Protego.parse, content)
        return _Rules(self._clock() + self._options.robots_ttl_s, rules, "")


class HostPace:
    """When each host may be asked next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def reserve(self, host: str, delay_s: float, *, within_s: float, url: str) -> float:
        """Seconds to wait before asking a host; the moment after that is taken.

        Args:
            host: name and port.
            delay_s: seconds that it is then left alone.
            within_s: longest wait that makes sense.
            url: the page, for errors.

        Raises:
            PageLimitError: the wait would be longer; nothing is reserved.
        """
        with self._lock:
            now = self._clock()
            start = max(now, self._next.get(host, now))
            if start - now > within_s:
                raise PageLimitError(
                    f"{url!r} is not fetched: {host} may be asked again in {start - now:.1f} s, later than the "
                    f"{within_s:.1f} s that are left",
                    url=url,
                )

            self._next[host] = start + delay_s
            self._next.move_to_end(host)
            while len(self._next) > _REMEMBERED_HOSTS:
                self._next.popitem(last=False)
            return start - now
