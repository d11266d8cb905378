"""A server that does what a test tells it, call by call, over real gRPC on this machine."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
import grpc.aio

from moesaic import v1
from moesaic.client.status import status_of
from moesaic.errors import MoesaicError
from moesaic.v1.inference_pb2_grpc import InferenceServiceServicer, add_InferenceServiceServicer_to_server

__all__ = ["NEVER", "FakeServer", "Plain", "Step", "events", "serving"]


class Plain(NamedTuple):
    """A failure as a proxy would report it: without our details."""

    code: grpc.StatusCode
    message: str = "from a proxy"


Step = MoesaicError | Plain | float | Callable[[], None] | Any
"""What a call does next: fail, wait for some seconds, do something, or give a message."""

NEVER = 300.0
"""A wait that no test waits for."""


class FakeServer(InferenceServiceServicer):
    """Follows one list of steps for each call; when there are no more lists, it follows `last`.

    Attributes:
        metadata: what each call carried.
        left_s: seconds that each call had until its deadline.
        cancelled: calls that the client gave up.
        open: calls that have not ended.
    """

    def __init__(self, *calls: Sequence[Step], last: Sequence[Step] = ()) -> None:
        self.metadata: list[dict[str, str]] = []
        self.left_s: list[float] = []
        self.cancelled = 0
        self.open = 0
        self._calls = deque(calls)
        self._last = last

    async def Generate(self, request: v1.GenerateRequest, context: Any) -> v1.GenerateResponse:  # noqa: N802
        async for message in self._follow(context):
            return message
        return v1.GenerateResponse(model="tiny")

    async def GenerateStream(  # noqa: N802
        self, request: v1.GenerateStreamRequest, context: Any
    ) -> AsyncIterator[v1.GenerateStreamResponse]:
        async for message in self._follow(context):
            yield message

    async def _follow(self, context: Any) -> AsyncGenerator[Any, None]:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        self.metadata.append(metadata)
        self.left_s.append(context.time_remaining())
        self.open += 1
        try:
            for step in self._calls.popleft() if self._calls else self._last:
                if isinstance(step, MoesaicError):
                    await _fail(context, step, metadata["x-request-id"])
                elif isinstance(step, Plain):
                    await context.abort(step.code, step.message)
                elif isinstance(step, float):
                    await asyncio.sleep(step)
                elif callable(step):
                    step()
                else:
                    yield step
        except (asyncio.CancelledError, GeneratorExit):  # while it waits, or while it writes
            self.cancelled += 1
            raise
        finally:
            self.open -= 1


async def _fail(context: Any, error: MoesaicError, request_id: str) -> None:
    status = status_of(error, request_id)
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    await context.abort(code, status.message, (("grpc-status-details-bin", status.SerializeToString()),))


def events(text: str, *, complete: bool = True) -> list[v1.GenerateStreamResponse]:
    """The events of a stream that says `text`, a character each."""
    parts: list[dict[str, Any]] = [{"started": v1.Started(request_id="r", model="tiny", prompt_tokens=1)}]
    parts += [{"delta": v1.CompletionDelta(text=character)} for character in text]
    if complete:
        finished = v1.Finished(finish_reason=v1.FinishReason.FINISH_REASON_STOP)
        parts.append({"finished": finished})
    return [v1.GenerateStreamResponse(sequence=rank, **part) for rank, part in enumerate(parts)]


@asynccontextmanager
async def serving(servicer: FakeServer, address: str = "127.0.0.1:0") -> AsyncGenerator[str, None]:
    """Serve on a free port for the time of a block; gives the target."""
    server = grpc.aio.server()
    add_InferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield address.removesuffix(":0") + f":{port}" if port > 1 else address
    finally:
        await server.stop(0)
