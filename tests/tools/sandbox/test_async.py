"""Programs for code that awaits: beside each other, in turn, given up at once."""

import asyncio
import time

import pytest

from moesaic.errors import SandboxBusyError
from moesaic.tools.sandbox import Execution, Sandbox
from tests.client.waiting import until
from tests.tools.sandbox.processes import FOREVER, patient, running_programs

LONG_S = 600.0
"""Time for a program that is ended by something else: nobody waits for it."""


async def begun(sandbox: Sandbox) -> "asyncio.Task[Execution]":
    """A program that runs by now, and goes on until it is given up."""
    running = asyncio.create_task(sandbox.arun(FOREVER, timeout_s=LONG_S))
    await until(lambda: bool(running_programs(sandbox)))
    return running


async def test_programs_run_beside_each_other() -> None:
    async with Sandbox(patient(concurrency=2, spares=1)) as sandbox:
        done = await asyncio.gather(*(sandbox.arun(f"answer = {n}") for n in range(20)))
        assert [item.value for item in done] == list(range(20))
        batches = await asyncio.gather(*(sandbox.arun_batch([f"{n}", f"{n} + 1"]) for n in range(3)))
        assert [[item.value for item in batch] for batch in batches] == [[0, 1], [1, 2], [2, 3]]


async def test_the_loop_turns_while_a_program_runs() -> None:
    async with Sandbox(patient()) as sandbox:
        running = await begun(sandbox)
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not running.done()
        assert (await sandbox.arun("1")).value == 1
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_cancelling_kills_the_program_at_once() -> None:
    async with Sandbox(patient(concurrency=1)) as sandbox:
        started = time.monotonic()
        running = await begun(sandbox)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        # Its place is free: the next one runs although only one may.
        assert (await sandbox.arun("1")).value == 1
        assert time.monotonic() - started < LONG_S / 2


async def test_cancelling_a_program_that_waits_gives_its_turn_away() -> None:
    async with Sandbox(patient(concurrency=1)) as sandbox:
        waiting = sandbox._places._waiting
        first = await begun(sandbox)
        second = asyncio.create_task(sandbox.arun("2"))
        await until(lambda: len(waiting) == 1)
        third = asyncio.create_task(sandbox.arun("3"))
        await until(lambda: len(waiting) == 2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await until(lambda: len(waiting) == 1)
        assert not first.done()
        first.cancel()
        assert (await third).value == 3
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_a_deadline_of_the_caller_ends_the_program(open_sandbox: Sandbox) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(open_sandbox.arun(FOREVER, timeout_s=LONG_S), 0.3)
    await until(lambda: not running_programs(open_sandbox))
    assert (await open_sandbox.arun("1")).value == 1


async def test_waiting_for_a_place_has_an_end() -> None:
    async with Sandbox(patient(concurrency=1, queue_timeout_s=0.2)) as sandbox:
        first = await begun(sandbox)
        with pytest.raises(SandboxBusyError, match=r"1 programs run in this sandbox.*0\.2 s.*concurrency"):
            await sandbox.arun("2")
        assert not first.done()
        first.cancel()
        await until(lambda: sandbox._places._free == 1)
        assert (await sandbox.arun("3")).value == 3
        with pytest.raises(asyncio.CancelledError):
            await first
