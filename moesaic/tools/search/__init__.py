"""Search engines: one protocol, several providers, and what makes them dependable.

    from moesaic.tools.search import SearchConfig, SearchQuery

    engine = SearchConfig(engines=("searxng", "ddgs"), searxng_url="http://127.0.0.1:8888").build()
    outcome = engine.search("how is a mixture of experts quantized?")      # or: await engine.asearch(...)
    for result in outcome.results:
        result.rank, result.title, result.url, result.snippet, result.provider

    SearchEngine ── cache, back-off, fail-over with reasons, budget, deadline, duplicates
      └─ SearchProvider ── ddgs, SearXNG, Brave, Tavily, a knowledge base, or StaticSearch without a network

Importing this package loads nothing; a name loads its module when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from moesaic.errors import MissingDependencyError

if TYPE_CHECKING:
    from moesaic.tools.page.budget import SearchBudget
    from moesaic.tools.page.recording import Recording
    from moesaic.tools.search.api_key import ApiKey
    from moesaic.tools.search.brave_search import BraveSearch
    from moesaic.tools.search.cache import ResultCache
    from moesaic.tools.search.config import SearchConfig
    from moesaic.tools.search.ddgs_search import DdgsSearch
    from moesaic.tools.search.engine import EngineOptions, SearchEngine
    from moesaic.tools.search.knowledge_search import KnowledgeSearch
    from moesaic.tools.search.outcome import ProviderAttempt, SearchOutcome
    from moesaic.tools.search.provider import Capabilities, SearchProvider
    from moesaic.tools.search.query import Safety, SearchQuery, TimeRange
    from moesaic.tools.search.result import PassageSpan, SearchResult
    from moesaic.tools.search.searxng_search import SearxngSearch
    from moesaic.tools.search.static_search import StaticSearch
    from moesaic.tools.search.tavily_search import TavilySearch
    from moesaic.tools.search.url_spelling import canonical_url

__all__ = [
    "ApiKey",
    "BraveSearch",
    "Capabilities",
    "DdgsSearch",
    "EngineOptions",
    "KnowledgeSearch",
    "PassageSpan",
    "ProviderAttempt",
    "Recording",
    "ResultCache",
    "Safety",
    "SearchBudget",
    "SearchConfig",
    "SearchEngine",
    "SearchOutcome",
    "SearchProvider",
    "SearchQuery",
    "SearchResult",
    "SearxngSearch",
    "StaticSearch",
    "TavilySearch",
    "TimeRange",
    "canonical_url",
]

_MODULES = {
    "moesaic.tools.page.budget": ("SearchBudget",),
    "moesaic.tools.page.recording": ("Recording",),
    f"{__name__}.api_key": ("ApiKey",),
    f"{__name__}.brave_search": ("BraveSearch",),
    f"{__name__}.cache": ("ResultCache",),
    f"{__name__}.url_spelling": ("canonical_url",),
    f"{__name__}.config": ("SearchConfig",),
    f"{__name__}.ddgs_search": ("DdgsSearch",),
    f"{__name__}.engine": ("EngineOptions", "SearchEngine"),
    f"{__name__}.knowledge_search": ("KnowledgeSearch",),
    f"{__name__}.outcome": ("ProviderAttempt", "SearchOutcome"),
    f"{__name__}.provider": ("Capabilities", "SearchProvider"),
    f"{__name__}.query": ("Safety", "SearchQuery", "TimeRange"),
    f"{__name__}.result": ("PassageSpan", "SearchResult"),
    f"{__name__}.searxng_search": ("SearxngSearch",),
    f"{__name__}.static_search": ("StaticSearch",),
    f"{__name__}.tavily_search": ("TavilySearch",),
}


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    try:
        value = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"search engines need {error.name}, which is not installed: pip install 'moesaic[tools]'"
        ) from error

    globals()[name] = value
    return value
