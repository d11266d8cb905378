"""`ChatMoesaic` without a network: awaited, waited for from another thread, and where waiting would never end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from langchain_core import exceptions
from pydantic import BaseModel

from moesaic import errors
from moesaic.chains import ChatMoesaic
from moesaic.client import AsyncClient
from moesaic.server import InProcessClient, MoesaicServer, ServerConfig
from moesaic.server.engine import ScriptedEngine, running
from tests.chains.scene import Scene, script, until_idle


class Node(BaseModel):
    """A heading."""

    title: str


@pytest.fixture
async def inside() -> AsyncIterator[Scene]:
    """A chat model and the engine beside it."""
    engine = ScriptedEngine(script, context_length=32768)
    async with running(engine):
        server = MoesaicServer(engine, ServerConfig(listen="127.0.0.1:0"), model_name="tiny", embedder=None)
        await server.start()
        yield Scene(ChatMoesaic(client=InProcessClient(server.service), max_tokens=2000), engine)
        await server.stop()


async def test_in_process(inside: Scene) -> None:
    answer = await inside.model.ainvoke("Why?")
    assert answer.response_metadata["model_name"] == "tiny"
    told = [chunk.text async for chunk in inside.model.astream("Why?")]
    assert "".join(told) == answer.text
    assert await inside.model.with_structured_output(Node).ainvoke("'Leaves'")
    with pytest.raises(exceptions.ModelNotFoundError):
        await inside.model.ainvoke("Why?", model="big")


async def test_in_process_from_another_thread(inside: Scene) -> None:
    answer = await asyncio.to_thread(inside.model.invoke, "Why?")
    assert await asyncio.to_thread(lambda: "".join(chunk.text for chunk in inside.model.stream("Why?"))) == answer.text
    assert await asyncio.to_thread(inside.model.get_num_tokens, "叶") == 3
    with pytest.raises(exceptions.ModelInvalidRequestError, match="top_p"):
        await asyncio.to_thread(inside.model.invoke, "Why?", top_p=2.0)

    def leave_early() -> None:
        for chunk in inside.model.stream("endless"):
            if chunk.text:
                return

    await asyncio.to_thread(leave_early)
    await asyncio.to_thread(until_idle, inside.engine)


async def test_in_process_where_waiting_would_never_end(inside: Scene) -> None:
    with pytest.raises(errors.InputError, match="ainvoke"):
        inside.model.invoke("Why?")
    with pytest.raises(errors.InputError, match="ainvoke"):
        list(inside.model.stream("Why?"))


def test_in_process_after_its_loop() -> None:
    async def make() -> ChatMoesaic:
        return ChatMoesaic(client=AsyncClient("127.0.0.1:1"))

    made = asyncio.run(make())
    for model in (made, ChatMoesaic(client=AsyncClient("127.0.0.1:1"))):
        with pytest.raises(errors.InputError, match="AsyncClient cannot be waited for here"):
            model.invoke("Why?")
