"""Drawing the next token from logits in plain PyTorch, by the definitions that vLLM follows.

In this order: log-probabilities of the model itself, penalties, temperature, min-p, top-k, top-p, draw. A penalty for
repetition sees prompt and answer, the two others the answer alone.

Shapes: V vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from moesaic.server.engine.request import SamplingParameters, TokenLogprob

__all__ = ["Drawn", "TokenSampler"]


class Drawn(NamedTuple):
    """A token, with what the request wants to know about it."""

    token_id: int
    logprob: float | None
    top: tuple[TokenLogprob, ...] | None


class TokenSampler:
    """Draws the tokens of one sequence and remembers them.

    Args:
        sampling: how to draw; checked.
        prompt_token_ids: the prompt.
        index: which of the request's sequences; it is added to the seed.
        vocab_size: V.
    """

    def __init__(
        self, sampling: SamplingParameters, prompt_token_ids: Sequence[int], index: int, vocab_size: int
    ) -> None:
        self._sampling = sampling
        self._generator: torch.Generator | None = None
        if sampling.seed is not None:
            self._generator = torch.Generator().manual_seed(sampling.seed + index)
        self._count_V = torch.zeros(vocab_size)
        self._seen_V = torch.zeros(vocab_size, dtype=torch.bool)
        self._seen_V[torch.tensor(prompt_token_ids, dtype=torch.long)] = True

    def draw(self, logits_V: torch.Tensor) -> Drawn:
        """Draw one token."""
        logits_V = logits_V.float()
        logp_V = None if self._sampling.logprobs is None else torch.log_softmax(logits_V, dim=-1)
        token_id = self._choose(self._penalized(logits_V))
        self._count_V[token_id] += 1
        self._seen_V[token_id] = True
        if logp_V is None:
            return Drawn(token_id, None, None)

        return Drawn(token_id, float(logp_V[token_id]), _most_likely(logp_V, self._sampling.logprobs or 0))

    def _penalized(self, logits_V: torch.Tensor) -> torch.Tensor:
        s = self._sampling
        if s.repetition_penalty != 1.0:
            scaled_V = torch.where(logits_V > 0, logits_V / s.repetition_penalty, logits_V * s.repetition_penalty)
            logits_V = torch.where(self._seen_V, scaled_V, logits_V)
        return logits_V - s.frequency_penalty * self._count_V - s.presence_penalty * (self._count_V > 0)

    def _choose(self, logits_V: torch.Tensor) -> int:
        s = self._sampling
        if s.temperature == 0.0:
            return int(logits_V.argmax())

        logits_V = logits_V / max(s.temperature, 1e-2)  # vLLM's least temperature: below it the division overflows
        if s.min_p > 0.0:
            p_V = torch.softmax(logits_V, dim=-1)
            logits_V = logits_V.masked_fill(p_V < s.min_p * p_V.max(), -torch.inf)
        if 0 < s.top_k < len(logits_V):
            logits_V = logits_V.masked_fill(logits_V < logits_V.topk(s.top_k).values[-1], -torch.inf)
        if s.top_p < 1.0:
            p_V, order_V = torch.softmax(logits_V, dim=-1).sort(descending=True)
            # A token stays if the more likely ones do not reach top_p without it.
            dropped_V = p_V.cumsum(dim=-1) - p_V >= s.top_p
            logits_V = logits_V.masked_fill(torch.zeros_like(dropped_V).scatter(0, order_V, dropped_V), -torch.inf)
        return int(torch.multinomial(torch.softmax(logits_V, dim=-1), 1, generator=self._generator))


def _most_likely(logp_V: torch.Tensor, count: int) -> tuple[TokenLogprob, ...] | None:
    if count == 0:
        return None

    values, token_ids = logp_V.topk(count)
    return tuple(map(TokenLogprob, token_ids.tolist(), values.tolist()))
