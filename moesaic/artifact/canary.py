"""The canary of a model artifact: log-probabilities that sound weights must reproduce.

Stored in the manifest, and compared here by mean |Δ|. `moesaic.model` computes them and an engine replays them; this
module needs neither.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from moesaic.artifact.record import Record
from moesaic.errors import CanaryError, InputError

__all__ = ["Canary"]


@dataclass(frozen=True, kw_only=True)
class Canary(Record):
    """Token sequences with the log-probabilities that sound weights give them.

    Computed with the plain PyTorch form of the artifact, and replayed through the engine at each load: wrong routing or
    a wrong order of experts leaves file digests and shapes as they were, but not these numbers.
    """

    sequences: tuple[tuple[int, ...], ...]
    """Token ids; each sequence has two or more."""
    logprobs: tuple[tuple[float, ...], ...]
    """`logprobs[i][j]` = log p(`sequences[i][j + 1]` | `sequences[i][: j + 1]`) in nats, one fewer than the tokens."""
    threshold: float
    """Largest mean |Δ log-probability| (nats) that passes."""
    computed_with: str
    """What computed them: library versions, data type, emulation."""

    def _check(self) -> None:
        short = [index for index, sequence in enumerate(self.sequences) if len(sequence) < 2 or min(sequence) < 0]
        if short or not self.sequences:
            raise InputError(
                f"a canary needs sequences of two or more token ids from 0 up; wrong: {short or 'none given'}"
            )

        if self.threshold <= 0:
            raise InputError(f"Canary.threshold must be above 0 nats, got {self.threshold!r}")

        self._require_layout(self.logprobs, "Canary.logprobs")

    def _require_layout(self, logprobs: Sequence[Sequence[float]], what: str) -> None:
        expected, found = [len(sequence) - 1 for sequence in self.sequences], [len(row) for row in logprobs]
        if expected != found:
            raise InputError(f"{what} must have {expected} values per sequence, one fewer than its tokens, got {found}")

    def difference(self, observed: Sequence[Sequence[float]]) -> float:
        """Mean |Δ log-probability| (nats) over all positions, infinite where an observed value is not finite.

        Args:
            observed: the log-probabilities that an engine gave, in the layout of `logprobs`.

        Raises:
            InputError: the layout is another one.
        """
        self._require_layout(observed, "observed log-probabilities")
        rows = zip(self.logprobs, observed, strict=True)
        deltas = [abs(promised - seen) for row in rows for promised, seen in zip(*row, strict=True)]
        if not all(math.isfinite(delta) for delta in deltas):
            return math.inf

        try:
            return math.fsum(deltas) / len(deltas)
        except OverflowError:  # finite, but their sum is not
            return math.inf

    def check(self, observed: Sequence[Sequence[float]]) -> float:
        """Return `difference(observed)` if it is within the threshold.

        Raises:
            CanaryError: it is larger.
            InputError: the layout of `observed` is another one.
        """
        difference = self.difference(observed)
        if difference > self.threshold:
            raise CanaryError(
                f"the canary failed: mean |Δ log-probability| is {difference:.4g} nats, allowed are up to "
                f"{self.threshold:.4g}. The loaded weights do not compute what the artifact promises: check its files "
                "with `moesaic model verify`; if they are sound, the engine or its kernels are at fault",
                difference=difference,
                threshold=self.threshold,
            )

        return difference
