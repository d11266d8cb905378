"""Both clients behind one protocol."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from moesaic.client import AsyncClient, Client, InferenceClient
from tests.client.threaded_client import ThreadedClient

MakeClient = Callable[..., InferenceClient]


@pytest.fixture(params=["async", "sync"])
async def make_client(request: pytest.FixtureRequest) -> AsyncIterator[MakeClient]:
    """Makes clients of the kind under test, given a target and options."""
    async with AsyncExitStack() as stack:

        def make(target: str, **options: Any) -> InferenceClient:
            client: Any = AsyncClient(target, **options)
            if request.param == "sync":
                client = ThreadedClient(Client(target, **options))
            stack.push_async_callback(client.aclose)
            made: InferenceClient = client
            return made

        yield make
