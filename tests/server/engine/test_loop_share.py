"""A coroutine that always has something to do leaves the loop to others in between."""

import asyncio

import pytest

from moesaic.server.engine.loop_share import LoopShare


async def turns_during(share: LoopShare, rounds: int) -> int:
    """How often the loop turned while `rounds` were made without a pause of their own."""
    turns, done = 0, False

    async def other() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(rounds):
        await share.give_way()
    seen, done = turns, True
    await task
    return seen


async def test_others_run_when_the_share_is_used_up() -> None:
    # The first round begins a turn, the second ends it.
    assert await turns_during(LoopShare(longest_turn_s=-1.0), 100) == 50


async def test_nobody_waits_for_what_takes_no_time() -> None:
    assert await turns_during(LoopShare(longest_turn_s=1000.0), 100) == 0


async def test_a_pause_of_another_kind_begins_a_new_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()
    share = LoopShare(longest_turn_s=5.0)
    await share.give_way()
    await asyncio.sleep(0)
    monkeypatch.setattr(loop, "time", lambda: now + 100.0)
    assert await turns_during(share, 1) == 0
