"""Asynchronous events for code that cannot await: the loop that runs them, and how they get there.

A chain is written once, asynchronously. Synchronous callers have it run on a loop of their own for as long as they
listen, or, where the chain's client belongs to a loop that runs in another thread, on that one.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from moesaic.errors import InputError

__all__ = ["blocking_events"]

T = TypeVar("T")


def blocking_events(
    make: Callable[[], AsyncGenerator[T, None]], home: asyncio.AbstractEventLoop | None, owner: str
) -> Iterator[T]:
    """Give what an asynchronous generator yields; leaving early closes it.

    Args:
        make: makes the generator, where it will run.
        home: the loop that it must run on; None: any.
        owner: what an error names.

    Raises:
        InputError: it would wait for the loop that it keeps from running.
    """
    with _waiter(home, owner) as wait:
        events = make()
        try:
            while True:
                try:
                    event = wait(anext(events))
                except StopAsyncIteration:
                    return
                yield event
        finally:
            wait(events.aclose())


@contextmanager
def _waiter(
    home: asyncio.AbstractEventLoop | None, owner: str
) -> Iterator[Callable[[Coroutine[Any, Any, Any] | Any], Any]]:
    """A function that waits for a coroutine."""
    running = _running_loop()
    if running is not None and home in (None, running):
        raise InputError(
            f"{owner} cannot be waited for in a running event loop: use ainvoke or astream, or another thread"
        )
    if home is None:
        with asyncio.Runner() as runner:
            yield lambda asked: runner.run(_as_coroutine(asked))
        return

    if not home.is_running():
        raise InputError(f"the event loop of the client of {owner} has ended: make a client where the chain is called")

    def wait(asked: Any) -> Any:
        future = asyncio.run_coroutine_threadsafe(_as_coroutine(asked), home)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interruption of this thread; no effect on what has failed already
            raise

    yield wait


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _as_coroutine(asked: Any) -> Any:
    """`anext` gives what can be awaited, but is no coroutine."""
    return await asked
