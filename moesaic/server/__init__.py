"""A model artifact behind gRPC. Importing this package loads neither torch nor vLLM.

server.py        MoesaicServer: listens, starts the engine, drains
follower.py      RegistryFollower: serves whatever version a registry says is current
config.py        ServerConfig and the file it is read from
inference.py     InferenceService: the calls, without a network
discovery.py     DiscoveryService: facts about it
grpc_service.py  both on the wire; in_process.py: both as an InferenceClient
conversation.py  messages and tools to a prompt; tool_calls.py: an answer's text to calls
answers.py       deltas to deltas, deltas to whole answers; wire.py: sampling, usage, capabilities
open_calls.py    requests in flight, by caller
credentials.py   tokens and TLS; observation.py: metrics and log
engine/          what computes
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moesaic.server.config import ServerConfig, ServerFile
    from moesaic.server.follower import RegistryFollower
    from moesaic.server.in_process import InProcessClient
    from moesaic.server.inference import InferenceService, ServiceLimits
    from moesaic.server.open_calls import Caller
    from moesaic.server.served_model import ServedModel
    from moesaic.server.server import MoesaicServer

__all__ = [
    "Caller",
    "InProcessClient",
    "InferenceService",
    "MoesaicServer",
    "RegistryFollower",
    "ServedModel",
    "ServerConfig",
    "ServerFile",
    "ServiceLimits",
]

_MODULES = {
    "Caller": "open_calls",
    "InProcessClient": "in_process",
    "InferenceService": "inference",
    "MoesaicServer": "server",
    "RegistryFollower": "follower",
    "ServedModel": "served_model",
    "ServerConfig": "config",
    "ServerFile": "config",
    "ServiceLimits": "inference",
}


def __getattr__(name: str) -> Any:
    """Load a part when it is first asked for: every process of vLLM imports this package for the sake of its engine."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
