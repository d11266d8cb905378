"""The step's gradients do not depend on how it is cut, loads count once, and what is not finite is named."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from moesaic.errors import CorpusError
from moesaic.training.batch import IGNORED, Batch
from moesaic.training.document_view import micro_batches
from moesaic.training.gradient_shrink import shrink_embedding_gradient
from moesaic.training.model_runner import ModelRunner
from moesaic.training.processes import Processes
from moesaic.training.router_losses import ConfiguredObjective, RouterConfig
from moesaic.training.router_objective import RouterObjective
from moesaic.training.run_options import DistributedConfig, PrecisionConfig
from moesaic.training.training_step import StepResult, accumulated_gradients, gradient_norm
from tests.training.tiny_run import random_batch, tiny_model


def runner_of(model: Any, **precision: Any) -> ModelRunner:
    model.train()
    return ModelRunner(model, Processes(), PrecisionConfig(**precision), DistributedConfig())


def step_of(
    model: Any, batches: Sequence[Batch], objective: RouterObjective | None = None, **precision: Any
) -> tuple[StepResult, dict[str, torch.Tensor]]:
    result = accumulated_gradients(runner_of(model, **precision), batches, objective, 3)
    return result, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def objective_of(model: Any) -> RouterObjective:
    return ConfiguredObjective(RouterConfig(balance_coefficient=0.5), model, total_steps=10)


def seasoned(model: Any) -> RouterObjective:
    """An objective that has seen a step with uneven loads."""
    objective = objective_of(model)
    objective.after_step(model, [torch.tensor([40.0, 5.0, 3.0, 2.0]) for _ in model.mixtures])
    return objective


def test_gradients_are_those_of_the_mean_loss() -> None:
    batch = random_batch(4, 16, documents=1)
    model = tiny_model()
    result, found = step_of(model, [batch])
    model.zero_grad()
    logits = model(input_ids=batch.input_ids_BS).logits[:, :-1]
    loss = F.cross_entropy(logits.reshape(-1, 320), batch.input_ids_BS[:, 1:].reshape(-1))
    loss.backward()
    assert result.loss == pytest.approx(float(loss.detach()), rel=1e-6)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-6, rtol=1e-4)


def test_one_row_eight_times_is_eight_rows_once() -> None:
    # Rows have unequal numbers of targets and of tokens, so that a mean of means would differ.
    batch = random_batch(8, 16, documents=3, padding=2)
    documents_BS = batch.documents_BS.clone()
    documents_BS[:3, 6:] = -1
    batch = Batch(input_ids_BS=batch.input_ids_BS, labels_BS=batch.labels_BS, documents_BS=documents_BS)
    model = tiny_model(router_aux_loss_coef=0.5)
    whole, expected = step_of(model, [batch], seasoned(model))
    model.zero_grad()
    cut, found = step_of(model, micro_batches(batch, 1, 320), seasoned(model))
    assert cut.loss == pytest.approx(whole.loss, rel=1e-5)
    assert cut.router_loss == pytest.approx(whole.router_loss, rel=1e-5)
    assert cut.router_loss > 0.1
    assert (cut.tokens, cut.targets) == (whole.tokens, whole.targets)
    assert [load.tolist() for load in cut.health.loads] == [load.tolist() for load in whole.health.loads]
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4)


def test_router_losses_reach_the_router_with_their_coefficient() -> None:
    batch = random_batch(4, 16)
    gradients = []
    for coefficient in (0.0, 0.5, 1.0):
        model = tiny_model()
        config = RouterConfig(balance_coefficient=coefficient, z_coefficient=0.0)
        objective = ConfiguredObjective(config, model, total_steps=10)
        objective.after_step(model, [torch.tensor([40.0, 5.0, 3.0, 2.0])])
        gradients.append(step_of(model, [batch], objective)[1]["model.layers.1.mlp.gate.weight"])
    torch.testing.assert_close(gradients[2] - gradients[0], 2 * (gradients[1] - gradients[0]), atol=1e-6, rtol=1e-3)
    assert (gradients[1] - gradients[0]).abs().max() > 1e-4


def test_activation_checkpointing_changes_neither_gradients_nor_loads() -> None:
    batch = random_batch(4, 16, documents=3, padding=1)
    model, other = tiny_model(), tiny_model()
    plain, expected = step_of(model, [batch], seasoned(model))
    again, found = step_of(other, [batch], seasoned(other), activation_checkpointing=True)
    assert again.loss == plain.loss
    assert [load.tolist() for load in again.health.loads] == [load.tolist() for load in plain.health.loads]
    assert sum(plain.health.loads[0].tolist()) == 4 * 15
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-5)


def test_autocast_computes_in_bf16_and_leaves_the_routers_exact() -> None:
    batch = random_batch(4, 16, documents=1)
    model: Any = tiny_model()
    seen: dict[str, torch.dtype] = {}
    gate = model.mixtures[0].gate
    inputs: list[torch.Tensor] = []
    gate.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()))
    gate.register_forward_hook(lambda _, __, out: seen.update(z=out[0].dtype))
    model.model.layers[0].self_attn.q_proj.register_forward_hook(lambda _, __, out: seen.update(q=out.dtype))
    runner = runner_of(model, autocast="bfloat16")
    logits = runner.forward(input_ids=batch.input_ids_BS, position_ids=torch.arange(16)[None]).router_logits[0]
    assert seen == {"q": torch.bfloat16, "z": torch.float32}
    exact = inputs[0].reshape(-1, 32).float() @ gate.weight.T
    torch.testing.assert_close(logits, exact, atol=1e-6, rtol=1e-6)


def test_health_measures_what_the_routers_did() -> None:
    batch = random_batch(4, 16, padding=3)
    model = tiny_model()
    result, _ = step_of(model, [batch], objective_of(model))
    with torch.no_grad():
        z_TE = model(input_ids=batch.input_ids_BS, output_router_logits=True).router_logits[0]
    assert z_TE.shape == (64, 4)
    record = result.health.to_json()[0]
    load_E = result.health.loads[0]
    assert float(load_E.sum()) == result.tokens == 4 * 13
    assert record["load"] == pytest.approx((load_E / load_E.sum()).tolist(), abs=1e-5)
    assert record["max_violation"] == pytest.approx(float(load_E.max() / load_E.mean()) - 1, abs=1e-5)
    assert 0 < record["entropy"] <= 1.3863
    assert 0.25 <= record["top1"] <= 1
    assert record["dead"] == int((load_E < 0.1 * load_E.mean()).sum())


def test_a_loss_that_is_not_finite_is_named() -> None:
    model = tiny_model()
    model.model.norm.weight.data[0] = float("inf")
    assert step_of(model, [random_batch(2, 8)])[0].culprit == "loss"


def test_a_gradient_that_is_not_finite_is_named() -> None:
    model: Any = tiny_model()
    down = model.model.layers[0].mlp.down_proj.weight
    down.register_hook(lambda gradient: gradient * float("nan"))
    assert step_of(model, [random_batch(2, 8)])[0].culprit == "gradient of model.layers.0.mlp.down_proj.weight"


def test_a_step_without_targets_is_refused() -> None:
    batch = random_batch(2, 8)
    nothing = Batch(
        input_ids_BS=batch.input_ids_BS,
        labels_BS=torch.full_like(batch.labels_BS, IGNORED),
        documents_BS=batch.documents_BS,
    )
    with pytest.raises(CorpusError, match="step 3 has no token to predict"):
        step_of(tiny_model(), [nothing])


@pytest.mark.parametrize("with_objective", [False, True])
def test_a_micro_batch_of_padding_alone_does_no_harm(with_objective: bool) -> None:
    batch = random_batch(2, 8)
    empty = Batch(
        input_ids_BS=batch.input_ids_BS,
        labels_BS=torch.full_like(batch.labels_BS, IGNORED),
        documents_BS=torch.full_like(batch.documents_BS, -1),
    )
    model = tiny_model()
    chosen = seasoned(model) if with_objective else None
    _, expected = step_of(model, [batch], chosen)
    model.zero_grad()
    result, found = step_of(model, [batch, empty], chosen)
    assert result.culprit is None
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)


def test_the_embedding_gradient_shrinks_on_the_input_side_alone() -> None:
    batch = random_batch(2, 8)
    _, whole = step_of(tiny_model(tie_word_embeddings=False), [batch])
    model = tiny_model(tie_word_embeddings=False)
    handle = shrink_embedding_gradient(model, 0.25)
    result, shrunk = step_of(model, [batch])
    name = "model.embed_tokens.weight"
    torch.testing.assert_close(shrunk[name], 0.25 * whole[name], atol=1e-7, rtol=1e-4)
    torch.testing.assert_close(shrunk["lm_head.weight"], whole["lm_head.weight"])
    handle.remove()
    assert result.gradient_norm == pytest.approx(gradient_norm(model.parameters()))
