"""The comparison that a loaded model must pass before it serves."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from moesaic.artifact import ModelArtifact

__all__ = ["replay_canary"]

_FULL_PRECISION = "float32"

Score = Callable[[Sequence[Sequence[int]]], Awaitable[list[list[float]]]]


async def replay_canary(artifact: ModelArtifact, score: Score, dtype: str) -> float | None:
    """Score the artifact's canary and compare; gives the mean |Δ log-probability| in nats, None without a canary.

    `dtype` is the type that the engine computes in: one coarser than the artifact's own gets the room that it needs.

    Raises `CanaryError` if the model does not compute what the artifact promises.
    """
    canary = artifact.manifest.canary
    if canary is None:
        return None

    if dtype not in (_FULL_PRECISION, "auto", artifact.manifest.architecture.dtype):
        from moesaic.model.canary import canary_threshold

        canary = replace(canary, threshold=max(canary.threshold, canary_threshold(dtype)))
    return canary.check(await score(canary.sequences))
