"""`DiscoveryService`: what a server is, what it serves, how busy it is."""

import asyncio
import re

import moesaic
from moesaic import v1
from moesaic.server.conversation import has_chat_template
from moesaic.server.inference import InferenceService
from moesaic.server.sandbox_tier import sandbox_tier
from moesaic.server.wire import capabilities_to_wire

__all__ = ["DiscoveryService"]

API_VERSION = "moesaic.v1"


class DiscoveryService:
    """Facts about one service.

    Args:
        inference: the service.
        max_message_bytes: most bytes of one message.
    """

    def __init__(self, inference: InferenceService, *, max_message_bytes: int) -> None:
        self._inference = inference
        self._max_message_bytes = max_message_bytes

    async def get_server_info(self, request: v1.GetServerInfoRequest) -> v1.GetServerInfoResponse:
        """Tell versions, limits and capabilities."""
        engine, embedder = self._inference.engine, self._inference.embedder
        limits = engine.limits
        return v1.GetServerInfoResponse(
            server_version=moesaic.__version__,
            api_version=API_VERSION,
            engine=re.sub("engine$", "", type(engine).__name__.lower()),
            capabilities=capabilities_to_wire(engine.capabilities, embeds=embedder is not None),
            limits=v1.Limits(
                context_length=limits.context_length,
                vocab_size=limits.vocab_size,
                max_n=limits.max_n,
                max_logprobs=limits.max_logprobs,
                max_message_bytes=self._max_message_bytes,
                max_batch=self._inference.limits.max_batch,
                max_open_requests=self._inference.limits.max_open_requests,
            ),
            embedder="" if embedder is None else embedder.name,
            embedding_dimension=0 if embedder is None else embedder.dimension,
            sandbox_tier=await asyncio.to_thread(sandbox_tier),
        )

    async def get_model_info(self, request: v1.GetModelInfoRequest) -> v1.GetModelInfoResponse:
        """Tell what is served."""
        model, engine = self._inference.model, self._inference.engine
        model.require(request.model)
        return v1.GetModelInfoResponse(
            model=model.name,
            weight_version=model.weight_version,
            architecture=model.architecture,
            quantization=model.quantization,
            parameters_total=model.parameters_total,
            parameters_active=model.parameters_active,
            context_length=engine.limits.context_length,
            vocab_size=engine.limits.vocab_size,
            experts_per_layer=model.experts_per_layer,
            has_chat_template=has_chat_template(engine.tokenizer),
            licence=model.licence,
        )

    async def get_load(self, request: v1.GetLoadRequest) -> v1.GetLoadResponse:
        """Tell how busy the server is."""
        load = self._inference.engine.load()
        return v1.GetLoadResponse(
            running=load.running,
            waiting=load.waiting,
            kv_cache_usage=load.kv_cache_usage,
            open_calls=len(self._inference.calls),
        )
