"""Remembered answers: given back whole, for a while, in bounds."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moesaic.errors import InputError, StorageError
from moesaic.tools.search import ResultCache, SearchQuery
from tests.tools.search.results import result

QUERY = SearchQuery(text="experts 专家")
FOUND = [
    result(
        "https://a.example/",
        snippet="量化",
        score=0.5,
        published="2026-01-02",
        also_at=("https://b.example/",),
    )
]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "cache.sqlite" if request.param == "file" else None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(place: Path | None, clock: Clock) -> Iterator[ResultCache]:
    with ResultCache(place, ttl_s=100, entries=3, bytes_=5000, clock=clock) as made:
        yield made


def test_what_is_put_is_got(cache: ResultCache) -> None:
    assert cache.get("p", QUERY) is None
    cache.put("p", QUERY, FOUND)
    assert cache.get("p", QUERY) == FOUND
    assert cache.get("p", SearchQuery(text="EXPERTS  专家")) == FOUND
    assert cache.get("other", QUERY) is None
    assert cache.get("p", SearchQuery(text="experts 专家", count=3)) is None


def test_answers_go_stale(cache: ResultCache, clock: Clock) -> None:
    cache.put("p", QUERY, FOUND)
    clock.now += 99
    assert cache.get("p", QUERY) == FOUND
    clock.now += 1
    assert cache.get("p", QUERY) is None
    cache.put("q", QUERY, FOUND)
    assert cache.size()[0] == 1


def test_an_answer_without_results_is_not_remembered(cache: ResultCache) -> None:
    cache.put("p", QUERY, [])
    assert cache.get("p", QUERY) is None


def test_the_number_is_bounded_and_the_least_used_goes(cache: ResultCache, clock: Clock) -> None:
    queries = [SearchQuery(text=f"query {number}") for number in range(4)]
    for query in queries[:3]:
        cache.put("p", query, FOUND)
        clock.now += 1
    assert cache.get("p", queries[0]) == FOUND
    clock.now += 1
    cache.put("p", queries[3], FOUND)
    assert [cache.get("p", query) is None for query in queries] == [False, True, False, False]


def test_the_bytes_are_bounded(cache: ResultCache, clock: Clock) -> None:
    for number in range(3):
        cache.put("p", SearchQuery(text=f"query {number}"), [result(snippet="x" * 2000)])
        clock.now += 1
    count, size = cache.size()
    assert count == 2
    assert size <= 5000
    assert cache.get("p", SearchQuery(text="query 0")) is None
    cache.put("p", QUERY, [result(snippet="x" * 6000)])
    assert cache.get("p", QUERY) is None
    assert cache.size()[0] == 2


def test_everything_is_forgotten_on_demand(cache: ResultCache) -> None:
    cache.put("p", QUERY, FOUND)
    cache.clear()
    assert cache.size() == (0, 0)


def test_a_cache_without_time_to_live_remembers_nothing() -> None:
    with ResultCache(ttl_s=0) as cache:
        cache.put("p", QUERY, FOUND)
        assert cache.get("p", QUERY) is None


def test_a_file_outlives_its_cache_and_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with ResultCache(path) as one, ResultCache(path) as other:
        one.put("p", QUERY, FOUND)
        assert other.get("p", QUERY) == FOUND
    with ResultCache(path) as again:
        assert again.get("p", QUERY) == FOUND


def test_threads_share_a_cache(cache: ResultCache) -> None:
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for step in range(20):
                cache.put("p", SearchQuery(text=f"{number} {step}"), FOUND)
                cache.get("p", SearchQuery(text=f"{number} {step}"))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert cache.size()[0] == 3


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, None])
def test_files_that_are_no_caches_are_refused_and_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "precious"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE precious (value)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"cannot be opened as a cache of search results.*choose another place"):
        ResultCache(path)
    assert path.read_bytes() == before


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="choose another place"):
        ResultCache(tmp_path / "no" / "folder" / "cache.sqlite")


def test_a_cache_that_fails_in_use_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = ResultCache(tmp_path / "cache.sqlite")
    cache.put("p", QUERY, FOUND)
    other = sqlite3.connect(tmp_path / "cache.sqlite")
    other.execute("DROP TABLE answers")
    other.commit()
    other.close()
    with caplog.at_level(logging.WARNING):
        assert cache.get("p", QUERY) is None
        cache.put("p", QUERY, FOUND)
    assert ["cannot be read" in caplog.messages[0], "cannot be written" in caplog.messages[1]] == [True, True]
    cache.close()


@pytest.mark.parametrize("given", [{"ttl_s": -1}, {"entries": 0}, {"bytes_": 0}, {"ttl_s": float("nan")}])
def test_bounds_out_of_range_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be"):
        ResultCache(**given)  # type: ignore[arg-type]
