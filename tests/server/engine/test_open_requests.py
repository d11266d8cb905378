"""Slots are handed on, never lost, whatever becomes of those who wait."""

import asyncio

import pytest

from moesaic.errors import EngineOverloadedError, RequestError
from moesaic.server.engine.open_requests import OpenRequests


async def test_slots_are_taken_in_order() -> None:
    requests, order = OpenRequests(slots=1, max_open=10), []

    async def one(name: str) -> None:
        async with requests.admit(name):
            assert requests.running == 1
            order.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(name) for name in "abcd"))
    assert order == list("abcd")
    assert (requests.running, requests.waiting) == (0, 0)


async def test_who_gives_up_while_waiting_keeps_no_slot() -> None:
    requests = OpenRequests(slots=1, max_open=10)
    async with requests.admit("first"):
        waiting = [asyncio.create_task(requests.admit(name).__aenter__()) for name in ("cancelled", "ended")]
        await asyncio.sleep(0)
        assert requests.waiting == 2
        waiting[0].cancel()
        assert requests.end("ended")
        assert (await waiting[1]).ended.is_set()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]

    async with asyncio.timeout(60), requests.admit("next") as opened:
        assert not opened.ended.is_set()
        assert requests.running == 1


async def test_cancelled_and_admitted_in_one_breath() -> None:
    requests = OpenRequests(slots=1, max_open=10)

    async def hold(name: str) -> None:
        async with requests.admit(name):
            await asyncio.sleep(0.01)

    for _ in range(50):
        first, second = asyncio.create_task(hold("first")), asyncio.create_task(hold("second"))
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert (requests.running, requests.waiting) == (0, 0)
    async with asyncio.timeout(60):
        await hold("last")


async def test_names_and_numbers_are_limited() -> None:
    requests = OpenRequests(slots=2, max_open=2)
    async with requests.admit("one"):
        with pytest.raises(RequestError, match="'one' is in flight already"):
            async with requests.admit("one"):
                raise AssertionError

        async with requests.admit("two"):
            with pytest.raises(EngineOverloadedError, match="2 requests are open"):
                async with requests.admit("three"):
                    raise AssertionError

        requests.end_all()
    assert not requests.end("one")
