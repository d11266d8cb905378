"""The package ddgs, and its former name: what they are asked, and what becomes of their errors.

`test_provider_conformance` has the package itself read pages from a server; here a stand-in takes its place where it
must fail in ways that cannot be brought about.
"""

import asyncio
import sys
import threading
from types import ModuleType
from typing import Any

import pytest

from moesaic.errors import MissingDependencyError, SearchBudgetError, SearchProviderError, SearchRateLimitedError
from moesaic.tools.search import DdgsSearch, SearchBudget, SearchQuery
from tests.client.waiting import GROWING_S
from tests.tools.page.lab import Lab, answer
from tests.tools.search.conftest import PATIENCE_S, Subject


class Package:
    """A stand-in for the package: what its client was asked, and what it answers or raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.asked: list[dict[str, Any]] = []
        self.outcome: Any = [{"title": "T", "href": "https://a.example/", "body": "B"}]
        self.gate = threading.Event()
        self.gate.set()
        self.done = threading.Event()
        package, errors = ModuleType(name), ModuleType(f"{name}.exceptions")
        base = type("DDGSException", (Exception,), {})
        for error in ("RatelimitException", "TimeoutException"):
            setattr(errors, error, type(error, (base,), {}))
        self.errors: Any = errors
        stand_in = self

        class DDGS:
            def __init__(self, timeout: int) -> None:
                self.timeout = timeout

            def text(self, query: str, **options: Any) -> Any:
                stand_in.asked.append({"query": query, "timeout": self.timeout, **options})
                stand_in.gate.wait(120)
                stand_in.done.set()
                if isinstance(stand_in.outcome, Exception):
                    raise stand_in.outcome
                return stand_in.outcome

        package.DDGS = DDGS  # type: ignore[attr-defined]
        package.exceptions = errors  # type: ignore[attr-defined]
        for module in ("ddgs", "ddgs.exceptions", "duckduckgo_search", "duckduckgo_search.exceptions"):
            monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, name, package)
        monkeypatch.setitem(sys.modules, f"{name}.exceptions", errors)


@pytest.fixture(params=["ddgs", "duckduckgo_search"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Package:
    """The package under each of its names, with the other one not there."""
    return Package(monkeypatch, request.param)


@pytest.fixture
def anywhere(package: Package) -> str:
    return "us-en" if package.errors.__name__.startswith("ddgs") else "wt-wt"


async def test_either_name_will_do(package: Package, anywhere: str) -> None:
    query = SearchQuery(text="experts", count=5, time_range="week", safety="strict")  # type: ignore[arg-type]
    found = await DdgsSearch(backend="brave").search(query, timeout_s=60.7)
    assert [(each.title, each.url, each.snippet, each.provider) for each in found] == [
        ("T", "https://a.example/", "B", "ddgs")
    ]
    assert package.asked == [
        {
            "query": "experts",
            "timeout": 60,
            "region": anywhere,
            "safesearch": "on",
            "timelimit": "w",
            "max_results": 5,
            "backend": "brave",
        }
    ]


@pytest.mark.parametrize(
    ("text", "language", "region"),
    [("混合专家", None, "cn-zh"), ("x", "zh-TW", "tw-tzh"), ("x", "en", "us-en"), ("x", "de-AT", "de-de")],
)
async def test_languages_become_regions(package: Package, text: str, language: str | None, region: str) -> None:
    await DdgsSearch().search(SearchQuery(text=text, language=language), timeout_s=PATIENCE_S)
    assert package.asked[0]["region"] == region
    assert package.asked[0]["timelimit"] is None


async def test_a_language_without_a_region_is_a_reason(package: Package) -> None:
    with pytest.raises(SearchProviderError, match="no region for the language 'sw'"):
        await DdgsSearch().search(SearchQuery(text="x", language="sw"))
    assert package.asked == []


async def test_errors_of_the_package_become_ours(package: Package) -> None:
    provider, query = DdgsSearch(), SearchQuery(text="x")
    package.outcome = package.errors.RatelimitException("202 Ratelimit")
    with pytest.raises(SearchRateLimitedError, match="ddgs: 202 Ratelimit"):
        await provider.search(query, timeout_s=PATIENCE_S)
    package.outcome = package.errors.TimeoutException("timed out")
    with pytest.raises(SearchProviderError, match="no answer within"):
        await provider.search(query, timeout_s=PATIENCE_S)
    package.outcome = KeyError("a page has changed")
    with pytest.raises(SearchProviderError, match="KeyError: 'a page has changed'"):
        await provider.search(query, timeout_s=PATIENCE_S)
    package.outcome = package.errors.RatelimitException.__base__("No results found.")
    assert await provider.search(query, timeout_s=PATIENCE_S) == []


def test_a_deadline_is_kept_although_the_package_sleeps_on(package: Package) -> None:
    package.gate.clear()
    for timeout_s in GROWING_S:
        with pytest.raises(SearchProviderError, match=f"no answer within {timeout_s:.3g} s"):
            asyncio.run(DdgsSearch().search(SearchQuery(text="x"), timeout_s=timeout_s))
        if package.asked:  # else the thread had not begun when its time was over
            break
    # The event loop has ended, and has not waited for the thread.
    assert not package.done.is_set()
    package.gate.set()
    assert package.done.wait(60)


async def test_a_budget_without_seconds_asks_nobody(package: Package) -> None:
    with pytest.raises(SearchBudgetError):
        await DdgsSearch().search(SearchQuery(text="x"), budget=SearchBudget(seconds=0))
    assert package.asked == []


def test_without_the_package_the_extra_is_named(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ddgs", "duckduckgo_search"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'moesaic\[tools\]'"):
        DdgsSearch()


@pytest.mark.parametrize("status", ["202 Accepted", "403 Forbidden", "429 Too Many Requests", "500 Oops"])
async def test_an_engine_that_blocks_looks_like_one_that_found_nothing(web: Lab, make: Any, status: str) -> None:
    web.routes["/html/"] = answer("blocked", status=status)
    assert await make("ddgs", "unused").search(SearchQuery(text="experts"), timeout_s=PATIENCE_S) == []


def test_subjects_are_made_of_the_real_package(subject: Subject) -> None:
    if subject.kind == "ddgs":
        assert subject.provider._package.__name__ == "ddgs"  # type: ignore[attr-defined]
        assert hasattr(subject.provider._package, "__version__")  # type: ignore[attr-defined]
    else:
        assert not hasattr(subject.provider, "_package")
