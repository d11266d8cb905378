"""Asynchronous work for callers who are not: the one way in which synchronous methods here come about."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run_blocking"]

T = TypeVar("T")


def run_blocking(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do `work` to its end and give its outcome.

    A thread that runs an event loop already, such as a notebook's, cannot run a second one: then the work is done in a
    thread of its own, while this one waits.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())

    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(work()))
        except BaseException as error:
            failure.append(error)  # raised again where it was asked for

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="moesaic-blocking")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]

    return outcome[0]
