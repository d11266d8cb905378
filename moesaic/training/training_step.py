"""One optimizer step up to the gradients: forward and backward over all micro-batches, loads, norm, and what failed.

- The loss is the mean over all targets of the step, whatever micro-batch or process they are in: it is summed, and
  divided by the number of targets of the whole step, which is counted first. Router losses are means over tokens and
  weigh by their micro-batch's share of the step's tokens. So 1 x 8 rows give the gradients of 8 x 1.
- Loads are counted from the forward pass that the loss is taken from, once; recomputed layers of activation
  checkpointing do not count again.

Shapes: B rows, S positions, V vocabulary, E experts.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.distributed.tensor import DTensor

from moesaic.errors import CorpusError
from moesaic.training.batch import IGNORED, Batch
from moesaic.training.document_view import document_view
from moesaic.training.expert_health import ExpertHealth
from moesaic.training.processes import Processes
from moesaic.training.router_objective import RouterObjective
from moesaic.training.token_loss import consumed_loss

__all__ = ["ForwardModel", "StepResult", "accumulated_gradients", "gradient_norm"]


class ForwardModel(Protocol):
    """A model as the step runs it: as it is, or wrapped for several processes."""

    model: Any
    """The model itself, for its configuration, mixtures and parameters."""

    processes: Processes
    """Who takes part."""

    def forward(self, **inputs: Any) -> Any:
        """The forward pass, through whatever wraps the model, under its precision."""
        ...

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """Gradients need to be exchanged after the last micro-batch only."""
        ...


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What one step computed, over all processes."""

    loss: float
    """Mean loss per target, nats."""
    router_loss: float
    """Weighted router losses, mean over tokens."""
    targets: int
    """Tokens that were predicted."""
    tokens: int
    """Tokens that were read, padding left out."""
    target_bytes: float
    """Bytes of the predicted tokens; 0 if the tokenizer's are unknown."""
    health: ExpertHealth
    """Routing of the step."""
    gradient_norm: float
    """Norm of all gradients together, before clipping."""
    culprit: str | None
    """What was not finite: the loss, a router loss, or the first such parameter's gradient; None if all is well."""


def accumulated_gradients(
    runner: ForwardModel,
    batches: Sequence[Batch],
    objective: RouterObjective | None,
    step: int,
    *,
    token_bytes_V: torch.Tensor | None = None,
) -> StepResult:
    """Add up the gradients of all micro-batches of a step in `parameter.grad`, which the caller has cleared.

    Raises:
        CorpusError: no position of the whole step has a target.
    """
    views = [document_view(batch) for batch in batches]
    counts = [
        [int((v.targets_BS != IGNORED).sum()), int((b.documents_BS >= 0).sum())]
        for v, b in zip(views, batches, strict=True)
    ]
    targets, tokens = runner.processes.summed(torch.tensor(counts).sum(dim=0)).tolist()
    if not targets:
        raise CorpusError(f"step {step} has no token to predict: every label is ignored; look at the data's labels")
    health = ExpertHealth(runner.model)
    sums = torch.zeros(3, dtype=torch.float64)
    # Wrappers take the mean of the gradients over processes; the losses are sums over them.
    size = runner.processes.size
    for place, (batch, view) in enumerate(zip(batches, views, strict=True)):
        with runner.accumulating(place == len(batches) - 1):
            outputs = runner.forward(input_ids=batch.input_ids_BS, position_ids=view.positions_BS)
            total = consumed_loss(outputs.logits, view.targets_BS, size / targets)
            nll = total.detach().double().cpu() * (targets / size)
            logits = getattr(outputs, "router_logits", None)
            if logits:
                health.add(logits, batch)
            if objective is not None and logits:
                share = counts[place][1] / max(1, tokens)
                router = share * objective.loss(runner.model, outputs, batch, step)
                total = total + size * router
                sums[1] += router.detach().double().cpu()
            total.backward()
        sums[0] += nll
        sums[2] += _bytes(view.targets_BS, token_bytes_V)
    sums = runner.processes.summed(sums)
    health.reduce(runner.processes)
    loss, router_loss, target_bytes = float(sums[0]) / targets, float(sums[1]), float(sums[2])
    norm = gradient_norm(runner.model.parameters())
    return StepResult(
        loss=loss,
        router_loss=router_loss,
        targets=targets,
        tokens=tokens,
        target_bytes=target_bytes,
        health=health,
        gradient_norm=norm,
        culprit=_culprit(runner.model, loss, router_loss, norm),
    )


def gradient_norm(parameters: Iterator[torch.nn.Parameter]) -> float:
    """Euclidean norm of all gradients together, over all shards."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return 0.0
    # Where experts alone are divided, shards and whole tensors come together; one operation cannot take both.
    kinds = [[g for g in gradients if isinstance(g, DTensor) is sharded] for sharded in (False, True)]
    norms = [torch.nn.utils.get_total_norm(kind) for kind in kinds if kind]
    return math.hypot(*(float(norm.full_tensor() if isinstance(norm, DTensor) else norm) for norm in norms))


def _bytes(targets_BS: torch.Tensor, token_bytes_V: torch.Tensor | None) -> float:
    if token_bytes_V is None:
        return 0.0
    return float(token_bytes_V[targets_BS[targets_BS != IGNORED]].sum())


def _culprit(model: Any, loss: float, router_loss: float, norm: float) -> str | None:
    """What is not finite; the loss before the gradients, the gradients in the order of the forward pass."""
    for name, value in (("loss", loss), ("router loss", router_loss)):
        if not math.isfinite(value):
            return name
    if math.isfinite(norm):
        return None
    for name, parameter in model.named_parameters():
        gradient = parameter.grad.to_local() if isinstance(parameter.grad, DTensor) else parameter.grad
        if gradient is not None and not bool(torch.isfinite(gradient).all()):
            return f"gradient of {name}"
    return "gradient norm"
