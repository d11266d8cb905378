"""Pages as they should be: what a reader gets of them, and what their server gets to see."""

import asyncio
import gzip
import hashlib
import json
from datetime import UTC, datetime

import pytest

from moesaic.errors import InputError, PageError, PageLimitError, SearchBudgetError
from moesaic.tools.page import FetchOptions, PageFetcher, SearchBudget
from tests.tools.page.lab import Lab, Request, Send, answer, fetcher_of, lab, page_of

ENGLISH = (
    "A mixture of experts sends each token to few of them, so that a large model computes as little as a small one."
)
CHINESE = "混合专家模型把每个词元交给少数专家处理，因此模型可以很大，而计算量仍然很小，在普通的机器上也能运行。"


@pytest.fixture
def site() -> object:
    routes = {
        "/en": answer(page_of("Mixtures of experts", ENGLISH, "Second paragraph. " + ENGLISH)),
        "/zh": answer(page_of("混合专家", CHINESE, "第二段。" + CHINESE).encode("gbk"), type_="text/html; charset=gbk"),
        "/packed": answer(gzip.compress(page_of("Packed", ENGLISH, ENGLISH).encode()), Content_Encoding="gzip"),
        "/plain": answer("one\r\ntwo\x00"[:-1] + "\x07", type_="text/plain"),
        "/json": answer('{"experts": 8, "名": "专家"}', type_="application/json"),
        "/feed": answer("<?xml version='1.0'?><feed><title>x</title></feed>", type_="application/atom+xml"),
        "/untyped": answer(page_of("No type", ENGLISH, ENGLISH), type_=None),
        "/untyped-text": answer("just words", type_=None),
        "/links": answer("<html><title>Links</title><body><ul><li><a href=x>First</a><li>Second</ul></body></html>"),
        "/long": answer(page_of("Long", *[f"Paragraph {n}. {ENGLISH}" for n in range(50)])),
        "/empty": answer(""),
        "/one": answer(status="301 Moved Permanently", Location="two?x=1#frag"),
        "/two": answer(status="307 Temporary Redirect", Location="//other.test:PORT/en"),
    }
    with lab(routes) as running:
        routes["/two"] = answer(status="307 Temporary Redirect", Location=f"//other.test:{running.port}/en")
        yield running


async def test_an_english_page(site: Lab) -> None:
    fetcher = fetcher_of(site)
    before = datetime.now(UTC).replace(microsecond=0)
    page = await fetcher.afetch(site.url("/en#middle"))
    assert page.title == "Mixtures of experts"
    assert page.text.count(ENGLISH) == 2
    assert "Menu" not in page.text
    assert "Imprint" not in page.text
    assert (page.url, page.final_url) == (site.url("/en#middle"), site.url("/en"))
    assert (page.media_type, page.charset, page.truncated, page.redirects) == ("text/html", "utf-8", False, ())
    source = page_of("Mixtures of experts", ENGLISH, "Second paragraph. " + ENGLISH).encode()
    assert (page.sha256, page.byte_count) == (hashlib.sha256(source).hexdigest(), len(source))
    assert before <= datetime.fromisoformat(page.fetched_at) <= datetime.now(UTC)
    assert json.loads(json.dumps(page.to_json()))["redirects"] == []
    fetcher.close()


async def test_a_chinese_page_in_gbk(site: Lab) -> None:
    with fetcher_of(site) as fetcher:
        page = await fetcher.afetch(site.url("/zh"))
    assert (page.title, page.charset) == ("混合专家", "gb18030")
    assert page.text.count(CHINESE) == 2


async def test_a_compressed_page(site: Lab) -> None:
    with fetcher_of(site) as fetcher:
        page = await fetcher.afetch(site.url("/packed"))
    assert ENGLISH in page.text
    assert page.byte_count == len(page_of("Packed", ENGLISH, ENGLISH))


@pytest.mark.parametrize(
    ("path", "text", "media_type"),
    [
        ("/plain", "one\ntwo", "text/plain"),
        ("/json", '{"experts": 8, "名": "专家"}', "application/json"),
        ("/feed", "<?xml version='1.0'?><feed><title>x</title></feed>", "application/atom+xml"),
        ("/untyped-text", "just words", "text/plain"),
    ],
)
async def test_what_is_no_html_comes_whole(site: Lab, path: str, text: str, media_type: str) -> None:
    with fetcher_of(site) as fetcher:
        page = await fetcher.afetch(site.url(path))
    assert (page.text, page.media_type, page.title) == (text, media_type, "")


async def test_html_without_a_type_is_known_by_its_beginning(site: Lab) -> None:
    with fetcher_of(site) as fetcher:
        page = await fetcher.afetch(site.url("/untyped"))
        links = await fetcher.afetch(site.url("/links"))
        empty = await fetcher.afetch(site.url("/empty"))
    assert (page.title, page.media_type) == ("No type", "text/html")
    assert "First" in links.text
    assert "Second" in links.text
    assert empty.text == ""


async def test_redirects_are_followed_and_told(site: Lab) -> None:
    with fetcher_of(site) as fetcher:
        page = await fetcher.afetch(site.url("/one"))
    assert page.final_url == site.url("/en", host="other.test")
    assert page.redirects == (site.url("/two?x=1"),)
    assert page.title == "Mixtures of experts"
    assert [request.headers["host"].partition(":")[0] for request in site.requests] == ["site.test"] * 2 + [
        "other.test"
    ]


async def test_a_long_text_is_cut_and_says_so(site: Lab) -> None:
    with fetcher_of(site, text_characters=300) as fetcher:
        page = await fetcher.afetch(site.url("/long"))
        plain = await fetcher.afetch(site.url("/plain"))
    assert (len(page.text), page.truncated) == (300, True)
    assert not plain.truncated


async def test_the_server_sees_an_honest_visitor_without_memory(site: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    site.routes["/cookie"] = answer(page_of("C", ENGLISH), Set_Cookie="session=1; Path=/")
    with fetcher_of(site) as fetcher:
        for path in ("/cookie", "/cookie", "/one"):
            await fetcher.afetch(site.url(path))
    for request in site.requests:
        assert request.method == "GET"
        assert request.headers["user-agent"].startswith("Moesaic/")
        assert request.headers["accept-encoding"] == "gzip, deflate"
        assert not {"cookie", "authorization", "referer"} & set(request.headers)


async def test_a_budget_is_spent_on_pages(site: Lab) -> None:
    budget = SearchBudget(bytes_=100_000)
    with fetcher_of(site) as fetcher:
        page = await fetcher.afetch(site.url("/en"), budget=budget)
        assert budget.remaining_bytes == 100_000 - page.byte_count
        small = SearchBudget(bytes_=page.byte_count - 1)
        with pytest.raises(SearchBudgetError, match="bytes"):
            await fetcher.afetch(site.url("/en"), budget=small)
        with pytest.raises(SearchBudgetError, match="bytes"):
            await fetcher.afetch(site.url("/en"), budget=small)
        assert len(site.requests) == 2
        with pytest.raises(SearchBudgetError, match="seconds"):
            await fetcher.afetch(site.url("/en"), budget=SearchBudget(seconds=0))


async def test_what_was_refused_has_been_spent_all_the_same(site: Lab) -> None:
    site.routes["/large"] = answer("x" * 50_000, type_="text/plain")
    budget = SearchBudget(bytes_=100_000)

    def unannounced(request: Request, send: Send) -> None:
        send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 50_000)

    site.routes["/unannounced"] = unannounced
    with fetcher_of(site, body_bytes=20_000) as fetcher:
        with pytest.raises(PageLimitError, match="announces 50000 bytes"):
            await fetcher.afetch(site.url("/large"), budget=budget)
        assert budget.remaining_bytes == 100_000
        with pytest.raises(PageLimitError, match="more than 20000 bytes"):
            await fetcher.afetch(site.url("/unannounced"), budget=budget)
        assert budget.remaining_bytes <= 80_000


async def test_the_seconds_of_a_budget_reach_the_socket(site: Lab) -> None:
    def never(request: Request, send: Send) -> None:
        site.stopping.wait(60)

    site.routes["/never"] = never
    with fetcher_of(site) as fetcher, pytest.raises(SearchBudgetError, match="seconds"):
        await fetcher.afetch(site.url("/never"), budget=SearchBudget(seconds=0.2))


async def test_a_cancelled_fetch_closes_its_connection(site: Lab) -> None:
    asked, closed = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(request: Request, send: Send) -> None:
        loop.call_soon_threadsafe(asked.set)
        try:
            while not site.stopping.wait(0.01):
                send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 1000)
        finally:
            loop.call_soon_threadsafe(closed.set)

    site.routes["/hold"] = hold
    with fetcher_of(site) as fetcher:
        task = asyncio.create_task(fetcher.afetch(site.url("/hold")))
        await asyncio.wait_for(asked.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 60)


def test_without_an_event_loop(site: Lab) -> None:
    with fetcher_of(site) as fetcher:
        assert fetcher.fetch(site.url("/en")).title == "Mixtures of experts"
        assert fetcher.fetch(site.url("/en")).title == "Mixtures of experts"


async def test_the_blocking_way_works_within_an_event_loop_too(site: Lab) -> None:
    with fetcher_of(site) as fetcher:
        assert fetcher.fetch(site.url("/en")).title == "Mixtures of experts"
        with pytest.raises(PageError, match="404"):
            fetcher.fetch(site.url("/gone"))


async def test_pages_are_fetched_side_by_side(site: Lab) -> None:
    with fetcher_of(site) as fetcher:
        pages = await asyncio.gather(*(fetcher.afetch(site.url("/en" if n % 2 else "/zh")) for n in range(10)))
    assert [page.title for page in pages] == ["混合专家", "Mixtures of experts"] * 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"timeout_s": 0}, "timeout_s=0 must be 0.01 to 600"),
        ({"timeout_s": float("nan")}, "timeout_s=nan"),
        ({"redirects": 21}, "redirects=21 must be 0 to 20"),
        ({"header_bytes": 10}, "header_bytes=10"),
        ({"user_agent": ""}, "user_agent='' must be 1 to 200"),
        ({"user_agent": "a\r\nCookie: x"}, "printable ASCII"),
    ],
)
def test_options_out_of_range_are_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FetchOptions(**given)  # type: ignore[arg-type]


def test_a_fetcher_that_did_nothing_is_closed_like_any_other() -> None:
    fetcher = PageFetcher()
    fetcher.close()
    fetcher.close()
