"""`InferenceClient`: what a model offers to whoever asks, wherever it runs.

`AsyncClient` reaches a server over gRPC; `moesaic.server.InProcessClient` calls the same services without a network.
Both pass one conformance suite, so what is built on this protocol (chains, tools, tests) does not know the difference.
Messages are those of `moesaic.v1`; failures are the classes of `moesaic.errors`, the same on both ways
(`moesaic.client.status`).
"""

from collections.abc import AsyncGenerator
from typing import Protocol

from moesaic import v1

__all__ = ["InferenceClient"]


class InferenceClient(Protocol):
    """One model that can be asked.

    Every call takes `timeout_s`: seconds after which it is given up with `DeadlineExceededError`; what it was computing
    is aborted. None: the client's own default. Closing a stream, or cancelling the task that waits, aborts the request.

    Every call raises:
        RequestError: a value is outside its range; `field` names it.
        NotFoundError: another model than the one that is served was asked for.
        UnsupportedFeatureError: the server lacks what was asked for.
        EngineOverloadedError: too many requests wait; try again later.
        UnavailableError: the server cannot be reached, or does not serve now.
        UnauthenticatedError, PermissionDeniedError: the credential is missing, unknown or insufficient.
        EngineError, ServiceError: the server could not do its work.
    """

    async def generate(self, request: v1.GenerateRequest, *, timeout_s: float | None = None) -> v1.GenerateResponse:
        """Continue a prompt."""
        ...

    def generate_stream(
        self, request: v1.GenerateStreamRequest, *, timeout_s: float | None = None
    ) -> AsyncGenerator[v1.GenerateStreamResponse, None]:
        """Continue a prompt, token by token; the first event is `started`, the last one `finished`."""
        ...

    async def chat(self, request: v1.ChatRequest, *, timeout_s: float | None = None) -> v1.ChatResponse:
        """Answer a conversation."""
        ...

    def chat_stream(
        self, request: v1.ChatStreamRequest, *, timeout_s: float | None = None
    ) -> AsyncGenerator[v1.ChatStreamResponse, None]:
        """Answer a conversation, token by token; the first event is `started`, the last one `finished`."""
        ...

    async def score(self, request: v1.ScoreRequest, *, timeout_s: float | None = None) -> v1.ScoreResponse:
        """Say how likely texts are as continuations of a prompt."""
        ...

    async def embed(self, request: v1.EmbedRequest, *, timeout_s: float | None = None) -> v1.EmbedResponse:
        """Give vectors for texts."""
        ...

    async def tokenize(self, request: v1.TokenizeRequest, *, timeout_s: float | None = None) -> v1.TokenizeResponse:
        """Give the tokens of a text or of a conversation."""
        ...

    async def detokenize(
        self, request: v1.DetokenizeRequest, *, timeout_s: float | None = None
    ) -> v1.DetokenizeResponse:
        """Give the text of tokens."""
        ...

    async def abort(self, request: v1.AbortRequest, *, timeout_s: float | None = None) -> v1.AbortResponse:
        """End a request of the same caller."""
        ...

    async def get_server_info(
        self, request: v1.GetServerInfoRequest, *, timeout_s: float | None = None
    ) -> v1.GetServerInfoResponse:
        """Tell versions, limits and capabilities."""
        ...

    async def get_model_info(
        self, request: v1.GetModelInfoRequest, *, timeout_s: float | None = None
    ) -> v1.GetModelInfoResponse:
        """Tell what is served."""
        ...

    async def get_load(self, request: v1.GetLoadRequest, *, timeout_s: float | None = None) -> v1.GetLoadResponse:
        """Tell how busy the server is."""
        ...

    async def aclose(self) -> None:
        """Give back what the client holds; it cannot be used afterwards."""
        ...
