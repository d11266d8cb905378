"""How likely a span makes the question: the preference of a model that is too small to reason about a list.

Ponte & Croft, "A Language Modeling Approach to Information Retrieval" (SIGIR 1998), section 3, with a language model in
the place of word counts as in Sachan et al., "Improving Passage Retrieval with Zero-Shot Question Generation" (EMNLP
2022), section 2.2. How this differs:

1. The likelihood of the question without any span is subtracted, so that the figure means the same for long and short
   questions: it is what the span tells about the question, in nats.
2. The heading above a span goes before it.
3. All spans are scored in one call.
"""

from collections.abc import Sequence

from moesaic import v1
from moesaic.chains.evidence import RankedSpan
from moesaic.client import InferenceClient
from moesaic.errors import ServiceError

__all__ = ["affordable", "likelihoods"]

_MOST_HEADING = 120
_SPAN_BYTES = 300
_INSTRUCTION = "Please write a question based on this passage."


def affordable(spans: Sequence[RankedSpan], most: int) -> list[RankedSpan]:
    """The first spans, at most `most`, with at most 300 bytes of UTF-8 each on average; one at least, if there is any.

    Tokens of a small vocabulary follow bytes rather than characters: a Chinese span costs thrice an English one.
    """
    chosen: list[RankedSpan] = []
    room = most * _SPAN_BYTES
    for span in spans[:most]:
        room -= len(span.span.text.encode())
        if chosen and room < 0:
            break
        chosen.append(span)
    return chosen


async def likelihoods(
    client: InferenceClient, question: str, spans: Sequence[RankedSpan], *, model: str = "", timeout_s: float | None
) -> tuple[list[float], v1.ScoreResponse]:
    """What each span tells about the question, in nats, and the response that it comes from.

    That is log P(question | span) - log P(question).

    Errors are those of `InferenceClient`.
    """
    asked = f"Question: {question}"
    contexts = [f"{span.heading[:_MOST_HEADING]}\n{span.span.text}\n\n{_INSTRUCTION}\n{asked}" for span in spans]
    request = v1.ScoreRequest(model=model, continuations=[v1.TextOrTokens(text=text) for text in (asked, *contexts)])
    response = await client.score(request, timeout_s=timeout_s)
    if len(response.scores) != len(contexts) + 1:
        raise ServiceError(f"the server gave {len(response.scores)} scores for {len(contexts) + 1} texts: update it")

    alone, *together = response.scores
    count = len(alone.tokens)  # the first token of `asked` has no score, and is left out everywhere
    return [sum(token.logprob for token in score.tokens[-count:]) - alone.logprob for score in together], response
