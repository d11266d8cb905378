"""A `MoesaicServer` over a `ScriptedEngine` for the time of a block, and its raw stubs: what any gRPC client sees."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moesaic import v1
from moesaic.retrieval import ScriptedEmbedder
from moesaic.server import MoesaicServer, ServedModel, ServerConfig
from moesaic.server.engine import Delta, Engine, EngineLoad, GenerateRequest, ScriptedEngine, ScriptedReply
from moesaic.v1.discovery_pb2_grpc import DiscoveryServiceStub
from moesaic.v1.inference_pb2_grpc import InferenceServiceStub
from tests.client.waiting import PATIENCE_S, until

__all__ = [
    "CANONICAL",
    "ENDLESS",
    "METHODS",
    "HeldEngine",
    "Refusal",
    "Served",
    "chat",
    "generate",
    "raw_call",
    "refused",
    "serving",
    "streamed",
]

CANONICAL = frozenset(grpc.StatusCode) - {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}
"""What a caller may see of a server that works, whatever it sends."""

ENDLESS = ScriptedReply(text="x" * 4000, token_delay_s=2.0)
"""A reply that no test waits for: whatever is asked for, it takes minutes after its first token."""

METHODS: Mapping[str, type[Any]] = {
    "Generate": v1.GenerateRequest,
    "GenerateStream": v1.GenerateStreamRequest,
    "Chat": v1.ChatRequest,
    "ChatStream": v1.ChatStreamRequest,
    "Score": v1.ScoreRequest,
    "Embed": v1.EmbedRequest,
    "Tokenize": v1.TokenizeRequest,
    "Detokenize": v1.DetokenizeRequest,
    "Abort": v1.AbortRequest,
    "GetServerInfo": v1.GetServerInfoRequest,
    "GetModelInfo": v1.GetModelInfoRequest,
    "GetLoad": v1.GetLoadRequest,
}
"""Every method, and what it takes."""


class HeldEngine(ScriptedEngine):
    """Goes on after a token of an answer only while `go` is set.

    Attributes:
        go: held by hand.
        given: tokens that each request was given.
    """

    def __init__(self, replies: Sequence[ScriptedReply | str] = ("ok",), *, go: bool = True) -> None:
        super().__init__(replies, context_length=512)
        self.given: Counter[str] = Counter()
        self.go = asyncio.Event()
        if go:
            self.go.set()

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Count tokens, and hold them."""
        return self._held(super().generate(request))

    async def _held(self, answer: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
        async with aclosing(answer) as deltas:
            async for delta in deltas:
                self.given[delta.request_id] += len(delta.token_ids)
                yield delta
                await self.go.wait()


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server, and how to ask it."""

    server: MoesaicServer
    channel: grpc.aio.Channel

    @property
    def scripted(self) -> ScriptedEngine:
        """The engine, where it is the double."""
        assert isinstance(self.server.engine, ScriptedEngine)
        return self.server.engine

    @property
    def inference(self) -> Any:
        """Stub of InferenceService."""
        return InferenceServiceStub(self.channel)

    @property
    def discovery(self) -> Any:
        """Stub of DiscoveryService."""
        return DiscoveryServiceStub(self.channel)

    @property
    def health(self) -> Any:
        """Stub of grpc.health.v1."""
        return health_pb2_grpc.HealthStub(self.channel)

    async def healthy(self, service: str = "") -> bool:
        """Whether health says SERVING."""
        answer = await self.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def call(self, method: str, request: Any, **options: Any) -> Any:
        """One call of any method, with all its answers if it is a stream; bounded in time."""
        stub = self.discovery if method.startswith("Get") else self.inference
        answer = getattr(stub, method)(request, **{"timeout": PATIENCE_S, **options})
        if method.endswith("Stream"):
            return [event async for event in answer]
        return await answer

    async def until_healthy(self) -> None:
        """Wait until health says SERVING."""
        async with asyncio.timeout(PATIENCE_S):
            while not await self.healthy():
                continue

    def idle(self) -> bool:
        """Whether neither the engine nor the server holds anything."""
        return self.server.engine.load() == EngineLoad() and len(self.server.service.calls) == 0

    async def until_idle(self) -> None:
        """Wait for it."""
        await until(self.idle)


@asynccontextmanager
async def serving(
    engine: Engine | Sequence[ScriptedReply | str] = ("ok",),
    *,
    model: str = "tiny",
    channel: grpc.aio.Channel | None = None,
    drain_s: float = 0.0,
    **config: Any,
) -> AsyncGenerator[Served, None]:
    """Serve an engine, or what a scripted one says, for the time of a block."""
    given = ScriptedEngine(engine, context_length=512) if isinstance(engine, Sequence) else engine
    server = MoesaicServer(
        given,
        ServerConfig(**{"listen": "127.0.0.1:0", "drain_s": drain_s, **config}),
        model=ServedModel(name=model, weight_version="w1"),
        embedder=ScriptedEmbedder(),
    )
    await server.start()
    try:
        async with channel or grpc.aio.insecure_channel(server.target) as opened:
            yield Served(server=server, channel=opened)
    finally:
        await server.stop()


def generate(text: str = "Why?", *, request_id: str = "", **sampling: Any) -> v1.GenerateRequest:
    """A prompt to continue."""
    return v1.GenerateRequest(
        prompt=v1.TextOrTokens(text=text),
        sampling=v1.SamplingParameters(**{"max_tokens": 64, **sampling}),
        request_id=request_id,
    )


def streamed(text: str = "Why?", *, request_id: str = "", **sampling: Any) -> v1.GenerateStreamRequest:
    """The same, as a stream."""
    return v1.GenerateStreamRequest(request=generate(text, request_id=request_id, **sampling))


def chat(text: str = "Why?", **fields: Any) -> v1.ChatRequest:
    """A conversation of one turn."""
    fields = {"sampling": v1.SamplingParameters(max_tokens=64), **fields}
    return v1.ChatRequest(**{"messages": [v1.ChatMessage(role=v1.Role.ROLE_USER, content=text)], **fields})


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """How a call failed, with the details of its status."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    field: str = ""
    resource: str = ""
    request_id: str = ""
    retry: bool = False

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> "Refusal":
        """Read a failed call."""
        facts: dict[str, Any] = {"code": error.code(), "message": error.details() or ""}
        raw = next((value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"), b"")
        status = status_pb2.Status.FromString(raw if isinstance(raw, bytes) else raw.encode())
        for detail in status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                facts["reason"] = error_details_pb2.ErrorInfo.FromString(detail.value).reason
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                violations = error_details_pb2.BadRequest.FromString(detail.value).field_violations
                facts["field"] = violations[0].field
            elif detail.Is(error_details_pb2.ResourceInfo.DESCRIPTOR):
                facts["resource"] = error_details_pb2.ResourceInfo.FromString(detail.value).resource_type
            elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
                facts["request_id"] = error_details_pb2.RequestInfo.FromString(detail.value).request_id
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                facts["retry"] = True
        return cls(**facts)


async def refused(served: Served, method: str, request: Any, **options: Any) -> Refusal:
    """Make a call that must fail."""
    try:
        answer = await served.call(method, request, **options)
    except grpc.aio.AioRpcError as error:
        return Refusal.of(error)
    raise AssertionError(f"{method} was not refused: {answer}")


async def raw_call(served: Served, path: str, content: bytes) -> object:
    """Send bytes to a method, whatever they are."""
    channel: Any = served.channel
    return await channel.unary_unary(path)(content, timeout=PATIENCE_S)
