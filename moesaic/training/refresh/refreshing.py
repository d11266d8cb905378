"""`refresh`: from new data to a new version that is served, or to a reason why the old one stays.

train → round → canary → gate against the served version → publish → the server drains, loads it, and says so.

Each step can be interrupted: training goes on where it stopped, an artifact that is there is not written again, and
publishing is one rename. Until the gate has passed, nothing that is served has been touched; a version that the server
cannot load is refused by the server itself, which serves the former one on.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from moesaic import v1
from moesaic.artifact import ModelArtifact, ModelRegistry, RegistryVerb
from moesaic.client import Client
from moesaic.errors import DeadlineExceededError, GateError, ServiceError
from moesaic.model.canary import replay_plain
from moesaic.model.probes import replay_probes
from moesaic.training.pretraining import pretrain
from moesaic.training.refresh.gate import Comparison, Gate, Progress
from moesaic.training.refresh.refresh_recipe import RefreshRecipe

__all__ = ["Refreshed", "refresh"]

_LOOK_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a refresh came to."""

    version: str
    """The version that is current now."""
    former: str | None
    """The one that was, None for the first."""
    comparisons: tuple[Comparison, ...]
    """Figures of the gate; none for the first version, which has nothing to be compared with."""
    served: bool
    """Whether a server has been seen to serve it; without a server nobody looked."""


def refresh(
    recipe: RefreshRecipe,
    *,
    server: Client | None = None,
    report: Callable[[Mapping[str, Any]], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Refreshed:
    """Make and publish a new version.

    Args:
        recipe: what to do.
        server: a server that follows the registry; None publishes without waiting for one.
        report: told of every line of the training's metrics.
        progress: told of every other step.

    Raises:
        GateError: the candidate was refused, by the gate or by the server; the former version is served on.
        TrainingError, RecipeError, CorpusError: as of training; CorpusError also before it, for what the gate measures.
        CanaryError, ArtifactError: the candidate is not what it should be.
        DeadlineExceededError: the server did not serve the new version in time; it is published, and may do so yet.
    """
    gate = Gate(recipe.gate)
    gate.check_sources()
    registry = ModelRegistry.create(recipe.refresh.registry)
    outcome = pretrain(recipe.training, report=report, progress=progress)
    candidate = outcome.artifacts[-1]
    _check(candidate, progress)
    former = registry.current
    facts: dict[str, Any] = {"recipe": str(recipe.path), "evaluation": outcome.figures}
    comparisons: list[Comparison] = []
    if former is not None:
        comparisons = gate.compare(registry.artifact(), candidate, progress)
        facts["gate"] = [comparison.to_json() for comparison in comparisons]
        failed = [str(comparison) for comparison in comparisons if not comparison.passes]
        if failed:
            registry.refuse(registry.add(candidate), back_to=None, reason="; ".join(failed), **facts)
            raise GateError(f"the candidate is worse than {former}, which is served on. {'; '.join(failed)}")
    version = registry.add(candidate)
    if version != former:  # else this very refresh was interrupted while it waited for the server
        registry.publish(candidate, **facts)
    if server is not None:
        _wait_until_served(server, registry, candidate, version, recipe.refresh.wait_s, progress)
    return Refreshed(version=version, former=former, comparisons=tuple(comparisons), served=server is not None)


def _check(candidate: ModelArtifact, progress: Progress) -> None:
    """Every byte is what was written, and the weights compute what the canary says."""
    candidate.verify(lambda _, done, total: progress("check the candidate's digests", done, total))
    canary = candidate.manifest.canary
    assert canary is not None, "training writes a canary into every artifact"
    progress("replay the candidate's canary", 0, 1)
    canary.check(replay_plain(candidate))
    canary.check_probes(replay_probes(candidate.folder, canary.probes))
    progress("replay the candidate's canary", 1, 1)


def _wait_until_served(
    server: Client, registry: ModelRegistry, candidate: ModelArtifact, version: str, wait_s: float, progress: Progress
) -> None:
    deadline = time.monotonic() + wait_s
    progress("wait for the server", 0, 1)
    seen = "it does not answer"
    while time.monotonic() < deadline:
        last = [event for event in registry.history() if event.version == version][-1]
        if last.verb is RegistryVerb.REFUSED and registry.current != version:  # the server notes it, then turns back
            raise GateError(f"the server refused {version} and serves {registry.current} on: {last.facts['reason']}")
        try:
            seen = server.get_model_info(v1.GetModelInfoRequest(), timeout_s=5.0).weight_version
        except ServiceError as error:
            seen = str(error)
        if seen == candidate.digest and last.verb is RegistryVerb.SERVED:
            progress("wait for the server", 1, 1)
            return
        time.sleep(_LOOK_S)
    raise DeadlineExceededError(
        f"the server did not serve {version} within wait_s={wait_s:g} (last seen: {seen}); see its log, and whether it "
        f"was started on the registry {registry.folder}"
    )
