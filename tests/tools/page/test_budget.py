"""Budgets: what is spent is gone, for all who share it."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from moesaic.errors import InputError, SearchBudgetError
from moesaic.tools.page import SearchBudget


def test_queries_run_out() -> None:
    budget = SearchBudget(queries=2)
    budget.spend_query()
    budget.spend_query()
    assert budget.remaining_queries == 0
    with pytest.raises(SearchBudgetError, match=r"queries for searches and pages are spent \(2 queries\)") as caught:
        budget.spend_query()
    assert caught.value.resource == "queries"


def test_seconds_run_out_by_themselves() -> None:
    now = [100.0]
    budget = SearchBudget(seconds=5, clock=lambda: now[0])
    now[0] = 104.0
    assert budget.remaining_s == 1
    budget.check()
    now[0] = 106.0
    assert budget.remaining_s == 0
    for spend in (budget.check, budget.spend_query):
        with pytest.raises(SearchBudgetError, match="5 s") as caught:
            spend()
        assert caught.value.resource == "seconds"


def test_bytes_run_out() -> None:
    budget = SearchBudget(bytes_=10)
    budget.spend_bytes(10)
    assert budget.remaining_bytes == 0
    with pytest.raises(SearchBudgetError) as caught:
        budget.check()
    assert caught.value.resource == "bytes"
    with pytest.raises(SearchBudgetError, match="10 bytes"):
        SearchBudget(bytes_=10).spend_bytes(11)


def test_threads_cannot_spend_more_than_there_is() -> None:
    budget = SearchBudget(queries=50)

    def spend(_: int) -> bool:
        try:
            budget.spend_query()
        except SearchBudgetError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(200))) == 50


@pytest.mark.parametrize("name", ["queries", "seconds", "bytes_"])
@pytest.mark.parametrize("value", [-1, math.inf, math.nan])
def test_bounds_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name}=.* must be a number of at least 0"):
        SearchBudget(**{name: value})  # type: ignore[arg-type]
