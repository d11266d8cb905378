"""LangChain Runnables: composition and prompts, and the loop around calls that a model makes by special tokens.

What orders calls or words a prompt belongs here, and so do the model-backed implementations of the protocols that
`moesaic.retrieval` declares. Nothing here computes with tensors: models are reached through `moesaic.client`.

    from moesaic.chains import ChatMoesaic, MoesaicEmbeddings

chat_model.py         ChatMoesaic, a served model as a LangChain chat model
chat_messages.py      LangChain's messages and those of the wire
chat_request.py       what LangChain passes to a chat model, as a request
structured_output.py  answers that are values of a schema
embeddings.py         MoesaicEmbeddings, a served encoder as LangChain embeddings
served.py             how both reach their server
blocking_client.py    an in-process client for code that cannot await
model_errors.py       errors that are Moesaic's and LangChain's at once
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moesaic.chains.chat_model import ChatMoesaic
    from moesaic.chains.embeddings import MoesaicEmbeddings

__all__ = ["ChatMoesaic", "MoesaicEmbeddings"]


def __getattr__(name: str) -> Any:
    """Bring a class when it is asked for: LangChain takes time to load."""
    if name == "ChatMoesaic":
        from moesaic.chains.chat_model import ChatMoesaic

        return ChatMoesaic
    if name == "MoesaicEmbeddings":
        from moesaic.chains.embeddings import MoesaicEmbeddings

        return MoesaicEmbeddings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
