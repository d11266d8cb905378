"""The comparison that a loaded model must pass before it serves."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from moesaic.artifact import ExpertProbe, ModelArtifact

__all__ = ["replay_canary"]

_FULL_PRECISION = "float32"

Score = Callable[[Sequence[Sequence[int]]], Awaitable[list[list[float]]]]
Probe = Callable[[Sequence[ExpertProbe]], Awaitable[list[list[list[float]]]]]


async def replay_canary(artifact: ModelArtifact, score: Score, probe: Probe, dtype: str) -> float | None:
    """Score the artifact's canary, then run its expert probes, and compare.

    Args:
        artifact: what was promised.
        score: gives the engine's log-probabilities of sequences.
        probe: gives the engine's outputs for expert probes; a dense artifact has none.
        dtype: type that the engine computes in: one coarser than the artifact's own gets the room that it needs.

    Returns:
        The mean |Δ log-probability| in nats, None without a canary.

    Raises:
        CanaryError: the model does not compute what the artifact promises.
    """
    canary = artifact.manifest.canary
    if canary is None:
        return None

    if dtype not in (_FULL_PRECISION, "auto", artifact.manifest.architecture.dtype):
        from moesaic.model.canary import canary_threshold

        canary = replace(canary, threshold=max(canary.threshold, canary_threshold(dtype)))
    difference = canary.check(await score(canary.sequences))
    if canary.probes:
        canary.check_probes(await probe(canary.probes))
    return difference
