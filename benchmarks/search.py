"""`python -m benchmarks.search`: what our layer adds to a query, with the network taken away.

    python -m benchmarks.search --json out.json
    python -m benchmarks.search --quick

A search engine that answers at once, out of memory, stands behind the real provider for SearXNG: everything that is
ours is measured, from the text of the query to results without duplicates, with the cache in a file. Each way that a
query can go is timed by itself; the claim is the median of the slowest way.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from rich.console import Console

from benchmarks.report import Claim, Report, ResultTable, command_line, describe_machine, describe_versions
from moesaic.errors import SearchProviderError
from moesaic.server.engine.hardware import Machine
from moesaic.tools.search import (
    EngineOptions,
    ResultCache,
    SearchBudget,
    SearchEngine,
    SearchQuery,
    SearxngSearch,
    StaticSearch,
)

__all__ = ["Way", "main", "measure"]

_RESULTS = 20
_ENDPOINT = "http://127.0.0.1:8888"
_PATIENT = EngineOptions(timeout_s=60.0, provider_timeout_s=60.0)
"""A query that a busy machine keeps waiting is slow; it is no failure."""
_SENTENCES = (
    "A mixture of experts routes each token to a few networks, number {n}, so that computation stays small.",
    "混合专家模型把每个词元交给少数专家处理，第{n}篇，因此参数量可以很大而计算量很小。",
)


class Way(NamedTuple):
    """One way that a query can go, and the milliseconds of each time it went there."""

    name: str
    samples: tuple[float, ...]


class _Instant(httpx.AsyncBaseTransport):
    """Answers every query with the same page of results, as SearXNG words it."""

    def __init__(self) -> None:
        results = [
            {
                "url": f"https://site{n}.example/article?id={n}&utm_source=feed",
                "title": f"Article {n}",
                "content": _SENTENCES[n % 2].format(n=n) * 3,
                "publishedDate": "2026-01-02T03:04:05",
                "score": 1 / (n + 1),
            }
            for n in range(_RESULTS)
        ]
        self._body = json.dumps({"query": "", "results": results, "unresponsive_engines": []}).encode()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer."""
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=httpx.ByteStream(self._body))


async def _timed(queries: list[str], ask: Callable[[str], Awaitable[Any]]) -> tuple[float, ...]:
    samples = []
    for query in queries:
        start = time.perf_counter()
        await ask(query)
        samples.append(1000 * (time.perf_counter() - start))
    return tuple(samples)


async def measure(count: int, folder: Path) -> list[Way]:
    """Time every way, `count` queries each."""
    provider = SearxngSearch(_ENDPOINT, transport=_Instant())
    queries = [f"mixture of experts {n} 混合专家" for n in range(count)]

    async def ask(engine: SearchEngine, text: str) -> None:
        query = SearchQuery(text=text, count=_RESULTS)
        outcome = await engine.asearch(query, budget=SearchBudget())
        assert len(outcome.results) == _RESULTS

    with ResultCache(folder / "cache.sqlite") as cache:
        plain = SearchEngine([provider], options=_PATIENT)
        cached = SearchEngine([provider], cache=cache, options=_PATIENT)
        await ask(plain, "warm up")
        ways = [Way("asked, no cache", await _timed(queries, lambda text: ask(plain, text)))]
        ways.append(Way("asked and remembered", await _timed(queries, lambda text: ask(cached, text))))
        ways.append(Way("remembered before", await _timed(queries, lambda text: ask(cached, text))))
        broken = StaticSearch(
            name="broken", failures=[SearchProviderError("broken: status 500", provider="broken")] * count
        )
        ways.append(
            Way(
                "asked after one that failed",
                await _timed(queries, lambda text: ask(SearchEngine([broken, provider], options=_PATIENT), text)),
            )
        )
    return ways


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 0 when the claim holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--quick", action="store_true", help="50 queries a way instead of 1000")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        ways = asyncio.run(measure(50 if given.quick else 1000, Path(folder)))
    slowest = max(ways, key=lambda way: statistics.median(way.samples))
    claim = Claim(
        claim="search_overhead_ms",
        value=statistics.median(slowest.samples),
        unit="ms",
        bar="<= 3",
        samples=slowest.samples,
    )
    rows = tuple(
        (way.name, statistics.median(way.samples), statistics.quantiles(way.samples, n=20)[-1], max(way.samples))
        for way in ways
    )
    note = f"{len(slowest.samples)} queries a way, {_RESULTS} results each; no network, the engine answers at once."
    columns = ("way of a query", "median ms", "95% within ms", "longest ms")
    report = Report(
        machine=describe_machine(Machine.detect()),
        command=command_line("benchmarks.search", arguments),
        versions=describe_versions(),
        claims=(claim,),
        tables={"Search without the network": ResultTable(columns=columns, rows=rows, note=note)},
    )
    report.show(Console())
    if given.json is not None:
        report.write(given.json)
    return 0 if claim.holds else 1


if __name__ == "__main__":
    sys.exit(main())
