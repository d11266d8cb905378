"""The model points at the span that answers: constrained decoding leaves it nothing but the numbers on the list.

This suits a model that follows instructions. A tiny one takes the first of the list whatever stands there
(docs/rag.md has the figures), so that the order in which the list is given matters: the best come first.
"""

from collections.abc import Sequence

from moesaic import v1
from moesaic.chains.evidence import RankedSpan
from moesaic.client import InferenceClient
from moesaic.errors import ServiceError

__all__ = ["chosen_span"]

_INSTRUCTION = "Below are numbered passages and a question. Reply with the number of the passage that answers it."


async def chosen_span(
    client: InferenceClient, question: str, spans: Sequence[RankedSpan], *, model: str = "", timeout_s: float | None
) -> tuple[int, v1.ChatResponse]:
    """Index of the span that the model chose, and the response that it comes from.

    Errors are those of `InferenceClient`; `ServiceError` too if the server did not keep to the list.
    """
    numbers = [str(number) for number in range(1, len(spans) + 1)]
    listed = "\n".join(
        f"[{number}] {' '.join(span.span.text.split())}" for number, span in zip(numbers, spans, strict=True)
    )
    request = v1.ChatRequest(
        model=model,
        messages=[
            v1.ChatMessage(role=v1.Role.ROLE_SYSTEM, content=_INSTRUCTION),
            v1.ChatMessage(role=v1.Role.ROLE_USER, content=f"{listed}\n\nQuestion: {question}"),
        ],
        sampling=v1.SamplingParameters(
            temperature=0.0, max_tokens=8, constraint=v1.Constraint(choice=v1.Choices(texts=numbers))
        ),
    )
    response = await client.chat(request, timeout_s=timeout_s)
    text = response.choices[0].message.content if response.choices else ""
    if text not in numbers:
        raise ServiceError(f"the server answered {text[:40]!r}, which was none of 1 to {len(spans)}: update it")
    return numbers.index(text), response
