"""What every provider does, whichever engine is behind it; one fixture runs each behaviour on each of them."""

import asyncio
import gzip
import json
import threading
import time

import pytest

from moesaic.errors import SearchBudgetError, SearchProviderError, SearchRateLimitedError
from moesaic.tools.search import SearchBudget, SearchProvider, SearchQuery, StaticSearch, TimeRange
from tests.tools.page.lab import ENDLESS, Request, Route, Send, answer
from tests.tools.search.conftest import PATIENCE_S, Subject
from tests.tools.search.web_engines import KEY

ENGLISH = SearchQuery(text="router softmax margin")
CHINESE = SearchQuery(text="量化 八位整数")


def json_of(value: object, **given: str) -> Route:
    return answer(json.dumps(value), type_="application/json", **given)


def test_it_meets_the_protocol(subject: Subject) -> None:
    provider = subject.provider
    assert isinstance(provider, SearchProvider)
    assert provider.name
    assert provider.name in provider.identity
    assert KEY not in provider.identity
    assert provider.capabilities.max_results >= 20
    # Only what has answered over the real network, or needs none, may say so.
    assert provider.capabilities.is_verified_live == (subject.kind in ("knowledge", "static"))
    assert provider.capabilities.is_local == (subject.kind == "knowledge")


@pytest.mark.parametrize(
    ("query", "address", "words"),
    [(ENGLISH, "moe.example/router", "stable the choice"), (CHINESE, "quant.example/zh/int8", "内存减少一半")],
)
async def test_it_finds_what_is_there(subject: Subject, query: SearchQuery, address: str, words: str) -> None:
    results = await subject.search(query)
    best = results[0]
    assert address in best.url.replace("%3A", ":")
    assert words in best.snippet
    assert best.title
    assert [result.rank for result in results] == list(range(1, len(results) + 1))
    assert {result.provider for result in results} == {subject.provider.name}
    for result in results:
        assert "<" not in result.title + result.snippet
        assert "&amp;" not in result.snippet


async def test_it_gives_no_more_than_was_asked_for(subject: Subject) -> None:
    many = await subject.search(SearchQuery(text="experts", count=20))
    assert len(many) >= 2
    few = await subject.search(SearchQuery(text="experts", count=1))
    assert [result.url for result in few] == [many[0].url]


async def test_nothing_found_is_an_empty_answer(subject: Subject) -> None:
    assert await subject.search(SearchQuery(text="zzzz qqqq")) == []


async def test_what_it_cannot_do_it_says(subject: Subject) -> None:
    capabilities = subject.provider.capabilities
    assert capabilities.why_not(ENGLISH) == ""
    too_long = SearchQuery(text="x" * 2000)
    assert bool(capabilities.why_not(too_long)) == (capabilities.max_characters < 2000)
    recent = SearchQuery(text="experts", time_range=TimeRange.WEEK, count=20)
    if subject.kind == "static":
        return
    if capabilities.why_not(recent):
        assert subject.kind == "knowledge"
        return
    found = {result.url for result in await subject.search(recent)}
    everything = {result.url for result in await subject.search(SearchQuery(text="experts", count=20))}
    assert found == {"https://moe.example/experts"}
    assert "https://moe.example/balance" in everything


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_language_is_asked_for(subject: Subject, language: str) -> None:
    query = SearchQuery(text="BM25 检索", language=language)
    if subject.kind in ("static", "knowledge", "tavily"):
        assert (subject.kind == "static") == (subject.provider.capabilities.why_not(query) == "")
        return
    found = await subject.search(query)
    assert found
    if language == "zh" or subject.kind != "ddgs":
        assert {"/zh/" in result.url for result in found} == {language == "zh"}


async def test_it_can_be_asked_side_by_side(subject: Subject) -> None:
    found = await asyncio.gather(*(subject.search(query) for query in [ENGLISH, CHINESE] * 3))
    assert [results[0].url for results in found[:2]] * 3 == [results[0].url for results in found]


def test_it_serves_several_event_loops(subject: Subject) -> None:
    assert asyncio.run(subject.search(ENGLISH)) == asyncio.run(subject.search(ENGLISH))


async def test_a_budget_of_bytes_is_spent(http_subject: Subject) -> None:
    budget = SearchBudget(bytes_=100_000)
    await http_subject.search(ENGLISH, budget=budget)
    assert 0 < budget.remaining_bytes < 100_000
    with pytest.raises(SearchBudgetError, match="bytes"):
        await http_subject.search(ENGLISH, budget=SearchBudget(bytes_=10))


@pytest.mark.parametrize(
    ("route", "message"),
    [
        (answer("oops", status="500 Internal Server Error"), "status 500: 'oops'"),
        (answer(status="302 Found", Location="http://10.0.0.1/"), "status 302"),
        (answer("<html>", type_="text/html"), "no JSON"),
        (answer("[" * 100_000, type_="application/json"), "no JSON"),
        (json_of([1, 2]), "no JSON object"),
        (json_of({"results": "many", "web": {"results": "many"}}), "no list of results"),
        (json_of({"results": [1], "web": {"results": ["x"]}}), "no list of results"),
        (answer(b"\xff\xfe", type_="application/json"), "no JSON"),
        (answer(gzip.compress(b"[" * 10**8), Content_Encoding="gzip", type_="application/json"), "more than 4194304"),
        (answer(b"x", Content_Encoding="br"), "compressed as 'br'"),
    ],
)
async def test_failures_are_typed_and_named(http_subject: Subject, route: Route, message: str) -> None:
    http_subject.web.routes[http_subject.path] = route
    with pytest.raises(SearchProviderError, match=message) as caught:
        await http_subject.search(ENGLISH)
    assert caught.value.provider == http_subject.provider.name
    assert str(caught.value).startswith(http_subject.provider.name)
    assert len(str(caught.value)) < 1000


async def test_strange_entries_are_left_out_and_the_others_given(http_subject: Subject) -> None:
    entries = [
        {"url": "javascript:alert(1)", "title": "script"},
        {"url": None, "title": "none"},
        {"title": "no address"},
        {"url": "https://user@@evil/\n", "title": "line"},
        {"url": "https://good.example/", "title": 7, "content": None, "description": ["x"], "publishedDate": 3},
        {"url": " https://also.example/a ", "title": "A\u202eB\x00", "content": "<b>x</b>", "description": "<b>x</b>"},
    ]
    http_subject.web.routes[http_subject.path] = json_of({"results": entries, "web": {"results": entries}})
    found = await http_subject.search(ENGLISH)
    assert [(result.url, result.title, result.snippet) for result in found] == [
        ("https://good.example/", "https://good.example/", ""),
        ("https://also.example/a", "A B", "x"),
    ]


async def test_a_rate_limit_says_how_long(http_subject: Subject) -> None:
    for headers, seconds in [({"Retry_After": "7"}, 7.0), ({}, None)]:
        route = answer("slow down", status="429 Too Many Requests", **headers)
        http_subject.web.routes[http_subject.path] = route
        with pytest.raises(SearchRateLimitedError, match="status 429") as caught:
            await http_subject.search(ENGLISH)
        assert caught.value.retry_after_s == seconds


async def test_a_deadline_reaches_the_socket(http_subject: Subject) -> None:
    begun, closed = threading.Event(), threading.Event()

    def endless(request: Request, send: Send) -> None:
        begun.set()
        try:
            send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            for _ in range(ENDLESS):
                send(b" ")
                time.sleep(0.02)
        finally:
            closed.set()

    http_subject.web.routes[http_subject.path] = endless
    for timeout_s in (0.2, 5.0, 30.0):
        with pytest.raises(SearchProviderError, match="did not answer within"):
            await http_subject.search(ENGLISH, timeout_s=timeout_s)
        if begun.is_set():  # else it stood still for so long that nothing was asked
            break
    assert await asyncio.to_thread(closed.wait, 60)


async def test_a_key_is_sent_and_never_shown(keyed_subject: Subject) -> None:
    assert (await keyed_subject.search(ENGLISH))[0].rank == 1
    wrong = "sk-wrong-very-secret-key"
    with pytest.raises(SearchProviderError, match=r"status 4\d\d") as caught:
        await keyed_subject.make(wrong).search(ENGLISH, timeout_s=PATIENCE_S)
    assert wrong not in str(caught.value)
    assert "[key]" in str(caught.value)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert wrong not in repr(chain)
        chain = chain.__cause__


async def test_a_knowledge_base_cites_the_exact_span(subject: Subject) -> None:
    if not subject.provider.capabilities.is_local:
        assert all(result.span is None for result in await subject.search(ENGLISH))
        return
    for result in await subject.search(ENGLISH):
        assert result.span is not None
        base = subject.provider._base  # type: ignore[attr-defined]
        assert base.text(result.span.document_id, result.span.start, result.span.end) == result.snippet
        assert result.url.startswith("kb://web/")
        assert result.url.endswith(f"?start={result.span.start}&end={result.span.end}")


async def test_the_double_fails_as_it_is_told_and_remembers_what_it_was_asked() -> None:
    double = StaticSearch(failures=[SearchProviderError("down", provider="static")], delay_s=0.001)
    with pytest.raises(SearchProviderError, match="down"):
        await double.search(ENGLISH)
    assert await double.search(CHINESE) == []
    assert double.queries == [ENGLISH, CHINESE]
