"""What answers of search engines say besides their results, and where a key may be sent."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from moesaic.errors import InputError
from moesaic.tools.search import ApiKey, BraveSearch, SearxngSearch, TavilySearch
from moesaic.tools.search.json_api import retry_after_s

KEY = ApiKey("sk-test-123456", source="the test")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "30"}, 30),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "9" * 30}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        # As Brave says it: one query a second, and a thousand a month.
        ({"x-ratelimit-remaining": "0, 990", "x-ratelimit-reset": "1, 1419704"}, 1),
        ({"x-ratelimit-remaining": "0, 0", "x-ratelimit-reset": "1, 1419704"}, 1419704),
        ({"x-ratelimit-remaining": "1, 5", "x-ratelimit-reset": "1, 9"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1, 9"}, None),
        ({"x-ratelimit-remaining": "x", "x-ratelimit-reset": "nan"}, None),
        ({"retry-after": "4", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "9"}, 4),
    ],
)
def test_how_long_to_wait_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(httpx.Headers(headers)) == seconds


def test_a_date_is_the_time_until_then() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    found = retry_after_s(httpx.Headers({"retry-after": date}))
    assert found is not None
    assert 0 < found <= 90


@pytest.mark.parametrize("url", ["", "127.0.0.1:8888", "ftp://x", "http://", "http://user:pw@host", "http://[::1"])
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="searxng: "):
        SearxngSearch(url)


def test_a_key_goes_over_https_or_stays_on_this_machine() -> None:
    for endpoint in ("http://api.example/search", "http://10.0.0.1/"):
        with pytest.raises(InputError, match="a key goes over https alone"):
            BraveSearch(KEY, endpoint=endpoint)
        with pytest.raises(InputError, match="a key goes over https alone"):
            TavilySearch(KEY, endpoint=endpoint)
    for endpoint in ("https://api.example/search", "http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]:1/"):
        assert KEY.reveal() not in repr(BraveSearch(KEY, endpoint=endpoint).identity)
