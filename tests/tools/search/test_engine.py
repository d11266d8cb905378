"""The engine above the providers: fail-over with reasons, back-off, cache, budget, deadline, cancellation."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from moesaic.errors import (
    InputError,
    SearchBudgetError,
    SearchError,
    SearchProviderError,
    SearchRateLimitedError,
    UnrecordedExchangeError,
)
from moesaic.tools.page.exchange import plain_transport
from moesaic.tools.search import (
    Capabilities,
    EngineOptions,
    KnowledgeSearch,
    Recording,
    ResultCache,
    Safety,
    SearchBudget,
    SearchEngine,
    SearchProvider,
    SearchQuery,
    SearxngSearch,
    StaticSearch,
)
from tests.tools.page.lab import Lab
from tests.tools.search.results import result
from tests.tools.search.web_engines import Index

PATIENT = {"timeout_s": 600.0, "provider_timeout_s": 60.0}
"""Limits that a search does not reach however busy the machine is."""

FOUND = [result("https://a.example/"), result("https://b.example/")]


class Watch:
    """A clock that goes on when someone sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def static(name: str, *failures: Exception, found: Sequence[object] = FOUND, **given: object) -> StaticSearch:
    return StaticSearch(default=found, failures=failures, name=name, **given)  # type: ignore[arg-type]


def down(name: str, reason: str = "it is down") -> SearchProviderError:
    return SearchProviderError(f"{name}: {reason}", provider=name)


def limited(name: str, retry_after_s: float | None = None) -> SearchRateLimitedError:
    return SearchRateLimitedError(f"{name}: too many", provider=name, retry_after_s=retry_after_s)


def engine_of(*providers: SearchProvider, watch: Watch | None = None, **options: float) -> SearchEngine:
    options = PATIENT | options
    if watch is None:
        return SearchEngine(providers, EngineOptions(**options))
    return SearchEngine(providers, EngineOptions(**options), clock=watch, sleep=watch.sleep)


async def test_the_first_provider_answers_and_the_second_is_not_asked() -> None:
    one, two = static("one"), static("two")
    outcome = await engine_of(one, two).asearch("experts")
    assert [(found.url, found.rank, found.provider) for found in outcome.results] == [
        ("https://a.example/", 1, "one"),
        ("https://b.example/", 2, "one"),
    ]
    assert (outcome.provider, outcome.is_cached, outcome.attempts) == ("one", False, ())
    assert two.queries == []
    assert outcome.to_json()["results"][0]["url"] == "https://a.example/"


async def test_failures_lead_to_the_next_one_and_their_reasons_are_kept() -> None:
    broken, empty = static("broken", down("broken", "status 500")), static("empty", found=[])
    outcome = await engine_of(broken, empty, static("good")).asearch("experts")
    assert outcome.provider == "good"
    assert [tuple(attempt) for attempt in outcome.attempts] == [
        ("broken", "status 500"),
        ("empty", "it found nothing"),
    ]


async def test_if_all_fail_every_reason_is_told() -> None:
    engine = engine_of(static("one", down("one", "status 500")), static("two", down("two", "no route")))
    with pytest.raises(SearchError, match=r"answered '专家' \(one: status 500; two: no route\)"):
        await engine.asearch("专家")


async def test_nothing_found_by_anyone_is_an_answer() -> None:
    outcome = await engine_of(static("one", found=[]), static("two", down("two"))).asearch("experts")
    assert (outcome.results, outcome.provider) == ((), "one")
    assert [attempt.provider for attempt in outcome.attempts] == ["one", "two"]


async def test_who_cannot_do_what_is_asked_is_passed_over() -> None:
    weak = Capabilities(
        max_results=5, max_characters=10, languages=False, time_ranges=False, strict_safety=False, is_local=False
    )
    one, two = static("weak", capabilities=weak), static("strong")
    engine = engine_of(one, two)
    queries = [
        SearchQuery(text="x" * 11),
        SearchQuery(text="x", language="zh"),
        SearchQuery(text="x", time_range="day"),  # type: ignore[arg-type]
        SearchQuery(text="x", safety=Safety.STRICT),
    ]
    reasons = [(await engine.asearch(query)).attempts[0].reason for query in queries]
    assert reasons == [
        "the query has 11 characters, it takes 10",
        "it cannot be asked for a language",
        "it cannot bound the age of results",
        "it cannot leave out pages for adults",
    ]
    assert one.queries == []
    assert (await engine.asearch("x")).provider == "weak"


async def test_duplicates_are_given_once_and_the_count_is_kept() -> None:
    found = [result(f"https://a.example/?utm_id={n}", snippet=str(n)) for n in range(3)] + FOUND[1:]
    outcome = await engine_of(static("one", found=found)).asearch(SearchQuery(text="x", count=4))
    assert [each.url for each in outcome.results] == ["https://a.example/?utm_id=0", "https://b.example/"]
    assert len(outcome.results[0].also_at) == 2


# ---------------------------------------------------------------- back-off
async def test_a_limited_provider_is_left_alone_as_long_as_it_asks() -> None:
    watch = Watch()
    one, two = static("one", limited("one", 60)), static("two")
    engine = engine_of(one, two, watch=watch)
    first = await engine.asearch("a")
    assert (first.provider, first.attempts[0].reason) == ("two", "too many; left alone for 60.0 s")
    watch.now = 59.0
    second = await engine.asearch("b")
    assert (second.provider, second.attempts[0].reason) == ("two", "it wants to be left alone for another 1.0 s")
    watch.now = 60.0
    assert (await engine.asearch("c")).provider == "one"
    assert len(one.queries) == 2


async def test_without_a_word_the_wait_doubles_and_is_bounded() -> None:
    watch = Watch()
    one, two = static("one", *(limited("one") for _ in range(5))), static("two")
    engine = engine_of(one, two, watch=watch, first_backoff_s=2, max_backoff_s=10)
    reasons = []
    for _ in range(5):
        reasons.append((await engine.asearch("a")).attempts[0].reason)
        watch.now += 10
    assert [reason.rpartition(" for ")[2] for reason in reasons] == ["2.0 s", "4.0 s", "8.0 s", "10.0 s", "10.0 s"]
    assert (await engine.asearch("a")).provider == "one"


async def test_an_absurd_wait_is_bounded() -> None:
    watch = Watch()
    engine = engine_of(static("one", limited("one", 1e9)), static("two"), watch=watch, max_backoff_s=600)
    await engine.asearch("a")
    watch.now = 600.0
    assert (await engine.asearch("a")).provider == "one"


async def test_the_only_provider_is_waited_for_if_that_is_soon() -> None:
    watch = Watch()
    engine = engine_of(static("one", limited("one", 3)), watch=watch)
    outcome = await engine.asearch("a")
    assert (outcome.provider, watch.slept) == ("one", [3])
    assert outcome.attempts[0].reason.endswith("left alone for 3.0 s")


@pytest.mark.parametrize(
    ("wait_s", "options"),
    [(6, {}), (3, {"max_wait_s": 2}), (4, {"timeout_s": 3})],
)
async def test_nobody_waits_for_long(wait_s: float, options: dict[str, float]) -> None:
    watch = Watch()
    engine = engine_of(static("one", limited("one", wait_s)), watch=watch, **options)
    with pytest.raises(SearchError, match="too many"):
        await engine.asearch("a")
    assert watch.slept == []


async def test_waiting_happens_once() -> None:
    watch = Watch()
    engine = engine_of(static("one", *(limited("one", 1) for _ in range(5))), watch=watch)
    with pytest.raises(SearchError):
        await engine.asearch("a")
    assert watch.slept == [1]


async def test_a_provider_that_keeps_failing_is_left_alone() -> None:
    watch = Watch()
    one = static("one", *(down("one") for _ in range(4)))
    engine = engine_of(one, static("two"), watch=watch, first_backoff_s=5)
    for _ in range(4):
        await engine.asearch("a")
    assert len(one.queries) == 3
    watch.now = 5.0
    await engine.asearch("a")
    assert len(one.queries) == 4
    watch.now = 15.0
    assert (await engine.asearch("a")).provider == "one"


# ---------------------------------------------------------------- cache
async def test_an_answer_is_asked_for_once(tmp_path: Path) -> None:
    one = static("one")
    with ResultCache(tmp_path / "cache.sqlite") as cache:
        engine = SearchEngine([one], cache=cache)
        first = await engine.asearch("Experts")
        second = await engine.asearch(" experts ")
        assert (first.is_cached, second.is_cached) == (False, True)
        assert second.results == first.results
        await engine.asearch(SearchQuery(text="experts", count=3))
    assert len(one.queries) == 2


async def test_a_remembered_answer_helps_where_the_provider_is_down() -> None:
    one = static("one")
    with ResultCache() as cache:
        engine = SearchEngine([one], cache=cache)
        await engine.asearch("experts")
        one._failures.append(down("one"))
        assert (await engine.asearch("experts")).is_cached


async def test_what_is_local_is_neither_remembered_nor_counted(index: Index) -> None:
    budget = SearchBudget(queries=0)
    with ResultCache() as cache:
        local = KnowledgeSearch(index.base, label="web", mode="lexical")
        engine = SearchEngine([local], EngineOptions(**PATIENT), cache=cache)
        outcome = await engine.asearch("绿茶怎么冲泡", budget=budget)
        assert "两分钟" in outcome.results[0].snippet
        assert outcome.results[0].span is not None
        assert cache.size() == (0, 0)


# ---------------------------------------------------------------- budget, deadline, cancellation
async def test_a_budget_counts_queries_but_not_remembered_ones() -> None:
    budget = SearchBudget(queries=2)
    with ResultCache() as cache:
        engine = SearchEngine([static("one", down("one")), static("two")], cache=cache)
        await engine.asearch("a", budget=budget)
        assert budget.remaining_queries == 0
        await SearchEngine([static("two")], cache=cache).asearch("a", budget=budget)
        with pytest.raises(SearchBudgetError, match="2 queries"):
            await engine.asearch("b", budget=budget)


async def test_the_seconds_of_a_budget_end_a_search() -> None:
    engine = engine_of(static("one", delay_s=600), static("two"))
    with pytest.raises(SearchBudgetError) as caught:
        await engine.asearch("a", budget=SearchBudget(seconds=0.1))
    assert caught.value.resource == "seconds"


async def test_a_slow_provider_leaves_time_for_the_next_one() -> None:
    outcome = await engine_of(static("slow", delay_s=600), static("quick"), provider_timeout_s=0.05).asearch("a")
    assert outcome.provider == "quick"
    assert outcome.attempts[0].reason == "it did not answer within 0.05 s"


async def test_the_deadline_holds_over_all_providers() -> None:
    one = static("one", delay_s=600)
    options = EngineOptions(timeout_s=0.2)
    # By this clock no time passes before the first is asked, and then all that there is.
    engine = SearchEngine([one, static("two"), static("three")], options, clock=lambda: float(len(one.queries)))
    with pytest.raises(SearchError, match=r"did not answer within .* two: no time was left to ask it"):
        await engine.asearch("a", timeout_s=0.1)


async def test_a_search_can_be_cancelled() -> None:
    slow = static("one", delay_s=600)
    task = asyncio.create_task(engine_of(slow, static("two")).asearch("a"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(slow.queries) == 1


def test_without_an_event_loop() -> None:
    engine = engine_of(static("one"))
    for _ in range(2):
        assert engine.search("a").provider == "one"


async def test_the_blocking_way_works_within_an_event_loop_too() -> None:
    assert engine_of(static("one")).search("a").provider == "one"
    with pytest.raises(SearchError):
        engine_of(static("one", down("one"))).search("a")


# ---------------------------------------------------------------- recording
async def test_a_run_is_replayed_without_a_network(web: Lab, tmp_path: Path) -> None:
    home, path = f"http://127.0.0.1:{web.port}", tmp_path / "run.jsonl"
    recorded = engine_of(SearxngSearch(home, transport=Recording.record(path, plain_transport())))
    queries = ["router softmax margin", "量化 八位整数"]
    first = [(await recorded.asearch(query)).results for query in queries]
    asked = len(web.requests)
    replayed = SearchEngine([SearxngSearch(home, transport=Recording.replay(path))])
    assert [(await replayed.asearch(query)).results for query in queries] == first
    # What was not recorded is an error of its own, and no reason to ask someone else.
    beside = static("beside")
    with pytest.raises(UnrecordedExchangeError, match="record it anew"):
        await SearchEngine([SearxngSearch(home, transport=Recording.replay(path)), beside]).asearch("another")
    assert (len(web.requests), beside.queries) == (asked, [])


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize("providers", [[], ["one", "one"]])
def test_providers_need_names_of_their_own(providers: list[str]) -> None:
    with pytest.raises(InputError, match="must be one or more, each of another name"):
        engine_of(*map(static, providers))


@pytest.mark.parametrize("name", ["timeout_s", "provider_timeout_s", "first_backoff_s", "max_backoff_s", "max_wait_s"])
@pytest.mark.parametrize("value", [-1, float("inf"), float("nan")])
def test_options_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name}="):
        EngineOptions(**{name: value})


async def test_a_blank_query_is_refused_before_anyone_is_asked() -> None:
    one = static("one")
    with pytest.raises(InputError, match="blank"):
        await engine_of(one).asearch(" ")
    assert one.queries == []
