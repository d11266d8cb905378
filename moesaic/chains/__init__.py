"""LangChain Runnables: composition and prompts, and the loop around calls that a model makes by special tokens.

What orders calls or words a prompt belongs here, and so do the model-backed implementations of the protocols that
`moesaic.retrieval` declares. Nothing here computes with tensors: models are reached through `moesaic.client`.

    from moesaic.chains import ChatMoesaic, MoesaicEmbeddings, RagChain

rag.py                RagChain, answers with citations from a knowledge base, or none
rag_options.py        how; citation.py: what an answer and a citation are; question.py: what is taken for a question
evidence.py           passages and spans for a question; candidate_spans.py, question_words.py, embedder_scale.py
span_likelihood.py    the model's view of spans; span_choice.py: another; answerability.py: whether any will do
extractive.py         answers made of spans; generative.py, sentence_support.py: answers written and checked
rag_calibration.py    RagCalibration, the fitted numbers
deadline.py           one time limit over several steps; blocking_events.py: streams for code that cannot await
chat_model.py         ChatMoesaic, a served model as a LangChain chat model
chat_messages.py      LangChain's messages and those of the wire
chat_request.py       what LangChain passes to a chat model, as a request
structured_output.py  answers that are values of a schema
tool_calling.py       ToolCallingChain, a model that calls functions until it has an answer
token_activated.py    TokenActivatedChain, a model that asks tools in the middle of its text; call_markers.py: how
tool_loop.py          what both share; tool_loop_options.py: their bounds; tool_answer.py: what comes out
embeddings.py         MoesaicEmbeddings, a served encoder as LangChain embeddings
served.py             how both reach their server
blocking_client.py    an in-process client for code that cannot await
model_errors.py       errors that are Moesaic's and LangChain's at once
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moesaic.chains.chat_model import ChatMoesaic
    from moesaic.chains.citation import AnswerPart, Citation, CitedAnswer
    from moesaic.chains.embeddings import MoesaicEmbeddings
    from moesaic.chains.rag import RagChain
    from moesaic.chains.rag_calibration import RagCalibration
    from moesaic.chains.rag_options import Judge, RagMode, RagOptions
    from moesaic.chains.token_activated import TokenActivatedChain
    from moesaic.chains.tool_answer import Ending, ToolAnswer, ToolPart
    from moesaic.chains.tool_calling import ToolCallingChain
    from moesaic.chains.tool_loop_options import ToolLoopOptions

__all__ = [
    "AnswerPart",
    "ChatMoesaic",
    "Citation",
    "CitedAnswer",
    "Ending",
    "Judge",
    "MoesaicEmbeddings",
    "RagCalibration",
    "RagChain",
    "RagMode",
    "RagOptions",
    "TokenActivatedChain",
    "ToolAnswer",
    "ToolCallingChain",
    "ToolLoopOptions",
    "ToolPart",
]

_MODULES = {
    "chat_model": ("ChatMoesaic",),
    "citation": ("AnswerPart", "Citation", "CitedAnswer"),
    "embeddings": ("MoesaicEmbeddings",),
    "rag": ("RagChain",),
    "rag_calibration": ("RagCalibration",),
    "rag_options": ("Judge", "RagMode", "RagOptions"),
    "token_activated": ("TokenActivatedChain",),
    "tool_answer": ("Ending", "ToolAnswer", "ToolPart"),
    "tool_calling": ("ToolCallingChain",),
    "tool_loop_options": ("ToolLoopOptions",),
}


def __getattr__(name: str) -> Any:
    """Bring a class when it is asked for: LangChain takes time to load."""
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
