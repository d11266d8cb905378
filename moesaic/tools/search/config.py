"""`SearchConfig`: which engines there are, from a TOML file, the environment, or in words.

[search]
engines = ["searxng", "brave", "ddgs"]      # in the order in which they are asked; "kb:NAME" is a knowledge base
searxng_url = "http://127.0.0.1:8888"       # or SEARXNG_URL
brave_key_file = "brave.key"                # or BRAVE_API_KEY
tavily_key_file = "tavily.key"              # or TAVILY_API_KEY
cache_file = "search-cache.sqlite"
"""

import os
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import httpx

from moesaic.errors import InputError
from moesaic.tools.search.api_key import ApiKey
from moesaic.tools.search.brave_search import BRAVE_ENDPOINT, BraveSearch
from moesaic.tools.search.cache import ResultCache
from moesaic.tools.search.ddgs_search import DdgsSearch
from moesaic.tools.search.engine import EngineOptions, SearchEngine
from moesaic.tools.search.provider import SearchProvider
from moesaic.tools.search.searxng_search import SearxngSearch
from moesaic.tools.search.tavily_search import TAVILY_ENDPOINT, TavilySearch

__all__ = ["ENGINE_NAMES", "SearchConfig"]

ENGINE_NAMES = ("searxng", "brave", "tavily", "ddgs")
"""Engines of the web, in the order in which those that are set up are asked if nothing else is said."""

_KB = "kb:"


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Engines and their settings. Keys are read when the engine is built, and are not part of the configuration.

    Raises:
        InputError: an engine is unknown, or named twice, or a bound is out of its range.
    """

    engines: tuple[str, ...] = ()
    """Whom to ask, in order: searxng, brave, tavily, ddgs, kb:NAME. If empty, all of the web's that are set up; ddgs
    needs no setting up and is the last."""
    searxng_url: str | None = None
    """Where SearXNG is; None for the variable SEARXNG_URL."""
    brave_key_file: Path | None = None
    """File with Brave's key; None for the variable BRAVE_API_KEY."""
    brave_endpoint: str = BRAVE_ENDPOINT
    """Where Brave is asked."""
    tavily_key_file: Path | None = None
    """File with Tavily's key; None for the variable TAVILY_API_KEY."""
    tavily_endpoint: str = TAVILY_ENDPOINT
    """Where Tavily is asked."""
    ddgs_backend: str = "auto"
    """Which engines ddgs asks, as that package names them."""
    kb_home: Path | None = None
    """Folder of all knowledge bases; None for the usual one."""
    cache_file: Path | None = None
    """Where answers are remembered; None for memory."""
    cache_ttl_s: float = 3600.0
    """How long an answer is good for; 0 remembers nothing."""
    cache_entries: int = 10_000
    """Most remembered answers."""
    cache_bytes: int = 64 * 2**20
    """Most bytes of them."""
    options: EngineOptions = field(default_factory=EngineOptions)
    """Deadlines and waits."""

    def __post_init__(self) -> None:
        for name in self.engines:
            if name not in ENGINE_NAMES and not (name.startswith(_KB) and len(name) > len(_KB)):
                raise InputError(f"engines: {name!r} is unknown; there are {', '.join(ENGINE_NAMES)} and kb:NAME")
        if len(set(self.engines)) < len(self.engines):
            raise InputError(f"engines={list(self.engines)!r} names one twice")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the table `[search]` of a TOML file; paths in it are as seen from its folder.

        Raises:
            InputError: it cannot be read, or has a key or a value that is not allowed.
        """
        file = Path(path).expanduser()
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path} cannot be read as TOML ({error})") from error

        given = content.pop("search", None)
        if content or not isinstance(given, dict):
            raise InputError(f"{path}: it must have one table, [search], and nothing else")

        known = {each.name for each in fields(cls)} - {"options"}
        bounds = {each.name for each in fields(EngineOptions)}
        if unknown := sorted(set(given) - known - bounds):
            raise InputError(f"{path}: {', '.join(unknown)} unknown; keys are {', '.join(sorted(known | bounds))}")

        values = {name: _converted(file, name, value) for name, value in given.items()}
        options = EngineOptions(**{name: values.pop(name) for name in bounds & set(values)})
        return cls(**values, options=options)

    def build(
        self, *, environ: Mapping[str, str] | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> SearchEngine:
        """The engine.

        Args:
            environ: variables with addresses and keys; those of the process if not given.
            transport: what carries requests over HTTP, such as a `Recording`.

        Raises:
            InputError: an engine that was named is not set up; the message says what is missing.
            MissingDependencyError: a package is missing.
            NotFoundError: there is no knowledge base of the name.
            StorageError: the cache cannot be opened.
        """
        variables = os.environ if environ is None else environ
        names = self.engines or [
            name for name in ENGINE_NAMES if name == "ddgs" or self._setting(name, variables) is not None
        ]
        with ExitStack() as resources:
            providers = [self._provider(name, variables, transport, resources) for name in names]
            cache = resources.enter_context(self._cache()) if self.cache_ttl_s > 0 else None
            return SearchEngine(providers, self.options, cache=cache, resources=resources.pop_all())

    def _setting(self, name: str, variables: Mapping[str, str]) -> str | ApiKey | None:
        """What an engine cannot do without."""
        if name == "searxng":
            return self.searxng_url or variables.get("SEARXNG_URL") or None
        if name == "brave":
            return ApiKey.find("BRAVE_API_KEY", self.brave_key_file, variables)
        return ApiKey.find("TAVILY_API_KEY", self.tavily_key_file, variables)

    def _provider(
        self,
        name: str,
        variables: Mapping[str, str],
        transport: httpx.AsyncBaseTransport | None,
        resources: ExitStack,
    ) -> SearchProvider:
        if name.startswith(_KB):
            return self._knowledge(name.removeprefix(_KB), resources)
        if name == "ddgs":
            return DdgsSearch(backend=self.ddgs_backend)

        setting = self._setting(name, variables)
        if isinstance(setting, str):
            return SearxngSearch(setting, transport=transport)
        if isinstance(setting, ApiKey):
            if name == "brave":
                return BraveSearch(setting, endpoint=self.brave_endpoint, transport=transport)
            return TavilySearch(setting, endpoint=self.tavily_endpoint, transport=transport)

        missing = {"searxng": "searxng_url or SEARXNG_URL"}.get(name, f"{name}_key_file or {name.upper()}_API_KEY")
        raise InputError(f"the search engine {name} is not set up: give {missing}")

    def _knowledge(self, name: str, resources: ExitStack) -> SearchProvider:
        from moesaic.retrieval import KnowledgeHome
        from moesaic.tools.search.knowledge_search import KnowledgeSearch

        base = resources.enter_context(KnowledgeHome(self.kb_home).open(name))
        return KnowledgeSearch(base, label=name)

    def _cache(self) -> ResultCache:
        return ResultCache(self.cache_file, ttl_s=self.cache_ttl_s, entries=self.cache_entries, bytes_=self.cache_bytes)


def _converted(file: Path, name: str, value: Any) -> Any:
    if name == "engines":
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise InputError(f"{file}: engines={value!r} must be a list of names")
        return tuple(value)

    if name.endswith(("_file", "_url", "_endpoint", "_backend", "_home")):
        if not isinstance(value, str) or not value:
            raise InputError(f"{file}: {name}={value!r} must be a text")
        return file.parent / Path(value).expanduser() if name.endswith(("_file", "_home")) else value

    wants_whole = name in ("cache_entries", "cache_bytes")
    if isinstance(value, bool) or not isinstance(value, int if wants_whole else (int, float)):
        raise InputError(f"{file}: {name}={value!r} must be a {'whole ' if wants_whole else ''}number")
    return value
