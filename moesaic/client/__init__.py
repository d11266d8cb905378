"""Typed clients of a Moesaic server. Light: no torch, numpy or langchain is loaded, gRPC only with the first client.

protocol.py      InferenceClient, what every client offers
async_client.py  AsyncClient, over gRPC, for asyncio
sync_client.py   Client, over gRPC, for programs without an event loop
connection.py    where a server is and how calls reach it, for both
call.py          one call over all its attempts: metadata, deadline, retries, errors, for both
status.py        the one table between errors and the status of a call
"""

from typing import TYPE_CHECKING, Any

from moesaic.client.protocol import InferenceClient

if TYPE_CHECKING:
    from moesaic.client.async_client import AsyncClient
    from moesaic.client.sync_client import Client

__all__ = ["AsyncClient", "Client", "InferenceClient"]


def __getattr__(name: str) -> Any:
    """Bring a client when it is asked for: gRPC takes time to load."""
    if name == "AsyncClient":
        from moesaic.client.async_client import AsyncClient

        return AsyncClient
    if name == "Client":
        from moesaic.client.sync_client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
