"""Every provider over one index: a test that takes `provider` runs with each of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import ddgs.engines.duckduckgo
import pytest

from moesaic.tools.search import (
    ApiKey,
    BraveSearch,
    DdgsSearch,
    KnowledgeSearch,
    SearchBudget,
    SearchProvider,
    SearchQuery,
    SearchResult,
    SearxngSearch,
    StaticSearch,
    TavilySearch,
)
from tests.tools.page.lab import Lab, lab
from tests.tools.search.web_engines import KEY, Index, brave, duckduckgo, searxng, tavily

OVER_HTTP = ("searxng", "brave", "tavily")
"""Providers that speak HTTP through our own transport."""

ALL = (*OVER_HTTP, "ddgs", "knowledge", "static")
"""Every provider."""

PATIENCE_S = 60.0
"""Time for an answer that must come."""

PATHS = {"searxng": "/search", "brave": "/res/v1/web/search", "tavily": "/search/tavily", "ddgs": "/html/"}
"""Where the lab has each engine of the web."""


@dataclass(frozen=True)
class Subject:
    """A provider, the server that it asks, and how to make it anew."""

    kind: str
    provider: SearchProvider
    web: Lab
    path: str
    make: Callable[[str], SearchProvider]

    async def search(
        self, query: SearchQuery, *, timeout_s: float = PATIENCE_S, budget: SearchBudget | None = None
    ) -> list[SearchResult]:
        """Ask the provider, which has time where the test sets no limit: the machine may be busy."""
        return await self.provider.search(query, timeout_s=timeout_s, budget=budget)


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    made = Index(tmp_path_factory.mktemp("web") / "index")
    yield made
    made.base.close()


@pytest.fixture
def web(index: Index) -> Iterator[Lab]:
    """The servers of all engines, on one port."""
    routes = {"searxng": searxng, "brave": brave, "tavily": tavily, "ddgs": duckduckgo}
    with lab({PATHS[kind]: route(index) for kind, route in routes.items()}) as running:
        yield running


@pytest.fixture
def make(web: Lab, index: Index, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], SearchProvider]:
    """Make a provider by its kind, with a key."""
    monkeypatch.setattr(ddgs.engines.duckduckgo.Duckduckgo, "search_url", web.url(PATHS["ddgs"], host="127.0.0.1"))

    def made(kind: str, key: str = KEY) -> SearchProvider:
        home = f"http://127.0.0.1:{web.port}"
        secret = ApiKey(key, source="the test")
        makers: dict[str, Callable[[], SearchProvider]] = {
            "searxng": lambda: SearxngSearch(home + "/"),
            "brave": lambda: BraveSearch(secret, endpoint=home + PATHS["brave"]),
            "tavily": lambda: TavilySearch(secret, endpoint=home + PATHS["tavily"]),
            "ddgs": lambda: DdgsSearch(backend="duckduckgo"),
            "knowledge": lambda: KnowledgeSearch(index.base, label="web", mode="lexical"),
            "static": lambda: StaticSearch(_answers(index)),
        }
        return makers[kind]()

    return made


def _answers(index: Index) -> dict[str, list[SearchResult]]:
    texts = ("router softmax margin", "router softmax margin zzz", "量化 八位整数", "experts", "zzzz qqqq")
    return {
        text: [
            SearchResult(title=page.title, url=page.url, snippet=page.text, rank=rank, provider="")
            for rank, page in enumerate(index.find(text), start=1)
        ]
        for text in texts
    }


def _subject(kind: str, web: Lab, make: Callable[[str, str], SearchProvider]) -> Subject:
    return Subject(kind, make(kind, KEY), web, PATHS.get(kind, ""), lambda key: make(kind, key))


@pytest.fixture(params=ALL)
def subject(request: pytest.FixtureRequest, web: Lab, make: Callable[[str, str], SearchProvider]) -> Subject:
    """Each provider in turn."""
    return _subject(request.param, web, make)


@pytest.fixture(params=OVER_HTTP)
def http_subject(request: pytest.FixtureRequest, web: Lab, make: Callable[[str, str], SearchProvider]) -> Subject:
    """Each provider over HTTP in turn."""
    return _subject(request.param, web, make)


@pytest.fixture(params=["brave", "tavily"])
def keyed_subject(request: pytest.FixtureRequest, web: Lab, make: Callable[[str, str], SearchProvider]) -> Subject:
    """Each provider with a key in turn."""
    return _subject(request.param, web, make)
