"""The objective in a model: its terms, padding, checkpointing, gradients, state, and that nothing of it is saved."""

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from torch.nn.attention import SDPBackend, sdpa_kernel

from moesaic.errors import TrainingError
from moesaic.model.balance import load_balancing_loss, router_z_loss
from moesaic.training.batch import Batch
from moesaic.training.router_losses import ConfiguredObjective, RouterConfig, hyperplane_distances, large_margin_loss
from moesaic.training.router_losses.large_margin_softmax import large_margin_softmax_loss
from moesaic.training.router_losses.routing_target import routing_target

MARGIN = RouterConfig(kind="margin", margin_warmup_share=0.0)
KINDS = [MARGIN, replace(MARGIN, kind="lsoftmax"), replace(MARGIN, aggregate="top2", margin_target="round_robin")]


def batch(rows: int = 2, length: int = 8, padding: int = 0, seed: int = 1) -> Batch:
    """Random rows that end in padding."""
    ids_BS = torch.randint(0, 64, (rows, length), generator=torch.Generator().manual_seed(seed))
    documents_BS = torch.zeros_like(ids_BS)
    documents_BS[:, length - padding :] = -1
    return Batch(input_ids_BS=ids_BS, labels_BS=ids_BS, documents_BS=documents_BS)


def run(model, objective, data, step=5):
    """One forward pass and the objective's loss for it."""
    outputs = model(data.input_ids_BS, output_router_logits=True)
    return objective.loss(model, outputs, data, step), outputs


def router_gradients(model):
    found = [mixture.gate.weight.grad.clone() for mixture in model.mixtures]
    model.zero_grad()
    return found


@pytest.mark.parametrize("config", KINDS, ids=["margin", "lsoftmax", "top2"])
def test_the_loss_is_the_mean_over_layers_of_its_terms(model, config):
    inputs = {}
    for index, mixture in enumerate(model.mixtures):
        mixture.gate.register_forward_pre_hook(lambda _, given, index=index: inputs.update({index: given[0]}))
    data = batch(padding=3)
    keep_T = data.documents_BS.reshape(-1) >= 0
    with ConfiguredObjective(config, model, total_steps=100) as objective:
        shares = [torch.rand(4), torch.rand(3)]
        objective.after_step(model, [10 * share_E for share_E in shares])
        found, outputs = run(model, objective, data)
    expected = []
    for layer, (mixture, z_TE) in enumerate(zip(model.mixtures, outputs.router_logits, strict=True)):
        z_TE, x_TD = z_TE[keep_T], inputs[layer][keep_T]
        score_TE = z_TE + mixture.gate.bias
        target_T = routing_target(config.margin_target, score_TE)
        if config.kind == "lsoftmax":
            margin = large_margin_softmax_loss(
                z_TE, x_TD.norm(dim=-1), mixture.gate.weight, mixture.gate.bias, target_T, m=2, lam=100 * 0.99**5
            )
        else:
            unit_T = x_TD.square().mean(dim=-1).sqrt()
            distance_TE = hyperplane_distances(score_TE, mixture.gate.weight, target_T, unit_T)
            margin, _ = large_margin_loss(distance_TE, 0.5, config.aggregate)
        share_E = shares[layer] / shares[layer].sum()
        balance = len(share_E) * (share_E * z_TE.softmax(dim=-1).mean(dim=0)).sum()
        expected.append(1e-3 * router_z_loss(z_TE) + 1e-3 * balance + 1e-2 * margin)
    assert found.item() == pytest.approx(sum(expected).item() / 2, rel=1e-5)


def test_with_the_shares_of_the_same_tokens_the_balance_is_that_of_switch(model):
    config = RouterConfig(kind="switch", z_coefficient=0.0)
    objective = ConfiguredObjective(config, model, total_steps=10)
    data = batch()
    first, outputs = run(model, objective, data)
    assert first.item() == 0.0
    objective.after_step(model, model.take_expert_loads())
    second, outputs = run(model, objective, data)
    indices = [mixture.gate.select(z_TE) for mixture, z_TE in zip(model.mixtures, outputs.router_logits, strict=True)]
    pairs = zip(outputs.router_logits, indices, strict=True)
    expected = sum(load_balancing_loss(z_TE, index_T1).item() for z_TE, index_T1 in pairs) / 2
    assert second.item() == pytest.approx(1e-2 * expected, rel=1e-5)


@pytest.mark.parametrize("config", KINDS, ids=["margin", "lsoftmax", "top2"])
def test_padding_changes_nothing(model, config):
    long = batch(rows=1, length=10, padding=4)
    short = Batch(
        input_ids_BS=long.input_ids_BS[:, :6], labels_BS=long.labels_BS[:, :6], documents_BS=long.documents_BS[:, :6]
    )
    with ConfiguredObjective(config, model, total_steps=100) as objective:
        padded, plain = (run(model, objective, data)[0] for data in (long, short))
        assert padded.item() == pytest.approx(plain.item(), rel=1e-5)


@pytest.mark.parametrize("config", KINDS, ids=["margin", "lsoftmax", "top2"])
def test_gradients_reach_every_router_and_the_layers_below(model, config):
    with ConfiguredObjective(replace(config, z_coefficient=0.0), model, total_steps=100) as objective:
        run(model, objective, batch())[0].backward()
    assert all(mixture.gate.weight.grad.abs().sum() > 0 for mixture in model.mixtures)
    assert model.model.layers[0].mlp.gate_proj.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("config", KINDS, ids=["margin", "lsoftmax", "top2"])
def test_activation_checkpointing_changes_neither_loss_nor_gradients(model, config):
    data = batch(padding=2)
    results = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        with ConfiguredObjective(config, model, total_steps=100) as objective, sdpa_kernel(SDPBackend.MATH):
            losses = []
            for _ in range(2):
                loss, _ = run(model, objective, data)
                loss.backward()
                losses.append(loss.item())
            results.append((losses, router_gradients(model), objective.take_metrics()))
    (plain, plain_gradients, plain_metrics), (again, gradients, metrics) = results
    assert again == plain
    torch.testing.assert_close(gradients, plain_gradients)
    assert metrics == plain_metrics


def test_steps_on_the_objective_alone_lower_the_violations_and_balance_the_experts(model):
    data = batch(rows=4, length=16)
    optimizer = torch.optim.SGD([mixture.gate.weight for mixture in model.mixtures], lr=5.0)
    with ConfiguredObjective(MARGIN, model, total_steps=1000) as objective:
        measured = []
        for step in range(60):
            loss, _ = run(model, objective, data, step)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            objective.after_step(model, model.take_expert_loads())
            measured.append(objective.take_metrics())
    first, last = measured[0], measured[-1]
    assert last["margin_loss"] < 0.5 * first["margin_loss"]
    assert last["target_agreement"] > 0.95 > first["target_agreement"]
    assert last["margin_violation"] < first["margin_violation"]


def test_metrics_are_means_since_they_were_last_taken(model):
    with ConfiguredObjective(MARGIN, model, total_steps=100) as objective:
        for seed in (1, 2):
            run(model, objective, batch(seed=seed))
        metrics = objective.take_metrics()
        assert objective.take_metrics() == {}
    names = {"margin_loss", "margin_violation"}
    assert set(metrics) == names | {f"{name}.{layer}" for name in names for layer in (0, 1)} | {"target_agreement"}
    assert metrics["margin_loss"] == pytest.approx((metrics["margin_loss.0"] + metrics["margin_loss.1"]) / 2)
    assert 0 <= metrics["margin_violation"] <= 1


def test_the_bias_moves_only_while_the_balancers_act(model):
    config = RouterConfig(kind="bias", balance_share=0.5)
    objective = ConfiguredObjective(config, model, total_steps=10)
    for step, moved in ((4, 1e-3), (5, 0.0)):
        before = [mixture.gate.bias.clone() for mixture in model.mixtures]
        run(model, objective, batch(), step)
        objective.after_step(model, [torch.tensor([9.0, 0.0, 0.0, 0.0]), torch.zeros(3)])
        change = [mixture.gate.bias - bias_E for mixture, bias_E in zip(model.mixtures, before, strict=True)]
        assert change[0].tolist() == pytest.approx([-moved, moved, moved, moved], abs=1e-6)
        assert change[1].tolist() == [0.0, 0.0, 0.0]


def test_state_makes_the_next_loss_exact(model):
    data, config = batch(), RouterConfig(kind="switch")
    objective = ConfiguredObjective(config, model, total_steps=10)
    assert objective.state() == {}
    objective.after_step(model, [torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 0.0, 0.0])])
    resumed = ConfiguredObjective(config, model, total_steps=10)
    resumed.restore(objective.state())
    assert run(model, resumed, data)[0].item() == run(model, objective, data)[0].item()


def test_a_batch_of_padding_and_a_dense_model_cost_nothing(model):
    with ConfiguredObjective(MARGIN, model, total_steps=100) as objective:
        loss, outputs = run(model, objective, batch(padding=8))
        loss.backward()
        assert loss.item() == 0.0
        outputs.router_logits = None
        assert objective.loss(model, outputs, batch(), 5).item() == 0.0


def test_the_hooks_are_there_for_a_margin_only_and_go_away(model):
    def hooks():
        return [len(mixture.gate._forward_hooks) for mixture in model.mixtures]

    model(batch().input_ids_BS, output_router_logits=True)  # transformers records logits by hooks of its own
    before = hooks()
    ConfiguredObjective(RouterConfig(kind="switch"), model, total_steps=10)
    assert hooks() == before
    objective = ConfiguredObjective(MARGIN, model, total_steps=10)
    data = batch()
    outputs = model(data.input_ids_BS, output_router_logits=True)
    objective.loss(model, outputs, data, 5)
    with pytest.raises(TrainingError, match="once before each call"):
        objective.loss(model, outputs, data, 5)
    assert hooks() == [count + 1 for count in before]
    objective.close()
    assert hooks() == before


def test_what_is_saved_has_the_keys_and_config_of_a_model_without_it(model, tmp_path):
    def keys(name):
        model.save_pretrained(tmp_path / name)
        with safe_open(tmp_path / name / "model.safetensors", "pt") as stored:
            return sorted(stored.keys()), (tmp_path / name / "config.json").read_text()

    before = keys("before")
    with ConfiguredObjective(MARGIN, model, total_steps=100) as objective:
        run(model, objective, batch())[0].backward()
        objective.after_step(model, model.take_expert_loads())
        assert keys("during") == before
    assert keys("after") == before
