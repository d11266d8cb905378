"""The canary of a model artifact: numbers that sound weights must reproduce.

- Log-probabilities see the whole model, but their noise grows from layer to layer: compared by mean |Δ|.
- Expert probes see one mixture layer each, where rounding costs per cents and a wrong expert costs tens of them:
  compared by the largest relative error of a token.

Both are stored in the manifest. `moesaic.model` computes them and an engine replays them; this module needs neither.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from moesaic.artifact.record import Record
from moesaic.errors import CanaryError, InputError

__all__ = ["Canary", "ExpertProbe"]


@dataclass(frozen=True, kw_only=True)
class ExpertProbe(Record):
    """What one mixture layer must give for fixed inputs: they are drawn from a seed, so only the outputs are stored."""

    layer: int
    """Index of the decoder layer."""
    seed: int
    """Seed of the input batch (`moesaic.model.probes.probe_inputs`)."""
    tokens: tuple[int, ...]
    """Rows of that batch that are used."""
    outputs: tuple[tuple[float, ...], ...]
    """Random projections of the layer's output, one row per token, as many in every row."""
    threshold: float
    """Largest relative error of a token that passes."""

    RANGES: ClassVar = {"layer": (0, math.inf), "seed": (0, 2**63 - 1)}

    def _check(self) -> None:
        if self.threshold <= 0:
            raise InputError(f"ExpertProbe.threshold must be above 0, got {self.threshold!r}")

        widths = {len(row) for row in self.outputs}
        tokens = set(self.tokens)
        if not tokens or len(tokens) != len(self.tokens) or min(tokens) < 0:
            raise InputError(f"ExpertProbe.tokens must be different rows from 0 up, got {self.tokens!r}")

        if len(self.outputs) != len(self.tokens) or len(widths) != 1 or 0 in widths:
            raise InputError(
                f"ExpertProbe.outputs must have {len(self.tokens)} rows of one length, one per token, got "
                f"{len(self.outputs)} of {sorted(widths)} numbers"
            )

    def error(self, observed: Sequence[Sequence[float]]) -> float:
        """Largest relative error ||Δ|| / ||reference|| of a token, infinite where a value is not finite.

        Args:
            observed: the projections that an engine gave, in the layout of `outputs`.

        Raises:
            InputError: the layout is another one.
        """
        expected, found = [len(row) for row in self.outputs], [len(row) for row in observed]
        if expected != found:
            raise InputError(f"the probe of layer {self.layer} has {expected} numbers per token, got {found}")

        return max(_relative_error(promised, seen) for promised, seen in zip(self.outputs, observed, strict=True))


def _relative_error(promised: Sequence[float], seen: Sequence[float]) -> float:
    if not all(math.isfinite(value) for value in seen):
        return math.inf

    difference, size = math.dist(promised, seen), math.hypot(*promised)
    return difference / size if size else (math.inf if difference else 0.0)


@dataclass(frozen=True, kw_only=True)
class Canary(Record):
    """Token sequences with the log-probabilities that sound weights give them, and a probe of every mixture layer.

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
    probes: tuple[ExpertProbe, ...] = ()
    """One for each mixture layer, none for a dense model."""

    def _check(self) -> None:
        short = [index for index, sequence in enumerate(self.sequences) if len(sequence) < 2 or min(sequence) < 0]
        if short or not self.sequences:
            raise InputError(
                f"a canary needs sequences of two or more token ids from 0 up; wrong: {short or 'none given'}"
            )

        if self.threshold <= 0:
            raise InputError(f"Canary.threshold must be above 0 nats, got {self.threshold!r}")

        layers = [probe.layer for probe in self.probes]
        if len(set(layers)) != len(layers):
            raise InputError(f"Canary.probes must name each layer once, got {layers}")

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

    def check_probes(self, observed: Sequence[Sequence[Sequence[float]]]) -> float:
        """Return the largest relative error of all probes if each is within its threshold.

        Args:
            observed: for each probe, the projections in the layout of its `outputs`.

        Raises:
            CanaryError: a layer's is larger; it names the layers, and carries the numbers of the worst.
            InputError: the layout of `observed` is another one.
        """
        if len(observed) != len(self.probes):
            raise InputError(f"{len(self.probes)} expert probes need as many observations, got {len(observed)}")

        errors = [(probe.error(seen), probe) for probe, seen in zip(self.probes, observed, strict=True)]
        failed = [(error / probe.threshold, error, probe) for error, probe in errors if error > probe.threshold]
        if failed:
            _, error, worst = max(failed, key=lambda item: item[0])
            layers = ", ".join(str(probe.layer) for _, _, probe in failed)
            raise CanaryError(
                f"the canary failed: the mixture of experts in layer {worst.layer} is off by {error:.4g} (relative), "
                f"allowed are up to {worst.threshold:.4g}; layers that fail: {layers}. Experts, router or coefficients "
                "of these layers are not what the artifact promises: check its files with `moesaic model verify`; if "
                "they are sound, the engine or its kernels are at fault",
                difference=error,
                threshold=worst.threshold,
            )

        return max((error for error, _ in errors), default=0.0)
