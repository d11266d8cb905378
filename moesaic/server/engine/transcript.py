"""The text of one sequence as its tokens arrive, and where it ends; for engines that generate without vLLM."""

from collections.abc import Callable, Collection
from typing import NamedTuple

from moesaic.server.engine.request import FinishReason, SamplingParameters
from moesaic.server.engine.stop_strings import StopStrings

__all__ = ["Passage", "Transcript"]


class Passage(NamedTuple):
    """What one token adds."""

    text: str
    finish_reason: FinishReason | None


class Transcript:
    """Writes one sequence.

    Args:
        sampling: where the request wants it to end.
        end_token_ids: tokens that end a text.
        decode: gives the text that a token completes.
    """

    def __init__(
        self, sampling: SamplingParameters, end_token_ids: Collection[int], decode: Callable[[int], str]
    ) -> None:
        self._ends = frozenset(sampling.stop_token_ids) | frozenset(() if sampling.ignore_eos else end_token_ids)
        self._stops = StopStrings(sampling.stop)
        self._decode = decode
        self._left = sampling.max_tokens

    def add(self, token_id: int) -> Passage:
        """Write the next token. A token that ends the sequence has no text; held-back text comes out at the end."""
        self._left -= 1
        if token_id in self._ends:
            return Passage(self._stops.flush(), FinishReason.STOP)

        released, stopped = self._stops.push(self._decode(token_id))
        if stopped:
            return Passage(released, FinishReason.STOP)

        if self._left == 0:
            return Passage(released + self._stops.flush(), FinishReason.LENGTH)

        return Passage(released, None)
