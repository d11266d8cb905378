"""Low-rank updates: right outputs and gradients on every kind of weight, and exact merging."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import torch.nn.functional as F

from moesaic.errors import MoesaicError, RecipeError, TrainingError
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.training.tuning.low_rank import (
    LowRankOptions,
    MergedWeights,
    add_low_rank,
    low_rank_updates,
    merge_low_rank,
)
from moesaic.training.tuning.parameter_kinds import ParameterKind
from moesaic.training.tuning.tuned_part import TunedPart, TuningOptions, finish_tuning, tune
from tests.training.tuning.stirred import logits, stir

ModelMaker = Callable[[], GPTMoEForCausalLM]
IMPLEMENTATIONS = ("eager", "batched_mm", "grouped_mm")
OPTIONS = LowRankOptions(rank=4, alpha=8)


@pytest.mark.parametrize("targets", [("attention",), ("dense",), ("experts",), ("attention", "dense", "experts")])
def test_the_counts_are_those_of_the_matrices(model: GPTMoEForCausalLM, targets: tuple[str, ...]) -> None:
    attention = 4 * 4 * ((64 + 64) + (64 + 32) + (64 + 32) + (64 + 64))
    dense = 4 * 4 * 3 * (64 + 96)
    experts = 4 * 12 * ((64 + 192) + (96 + 64))
    counts = {"attention": attention, "dense": dense, "experts": experts}
    trained = add_low_rank(model, LowRankOptions(rank=4, targets=tuple(ParameterKind(kind) for kind in targets)))
    assert trained.low_rank == trained.trained == sum(counts[kind] for kind in targets)
    assert trained.by_kind == {}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_nothing_changes_at_first_and_merging_changes_nothing(
    make_model: ModelMaker, tokens: torch.Tensor, implementation: str
) -> None:
    model = make_model()
    model.set_experts_implementation(implementation)
    names, classes = list(model.state_dict()), [type(module) for module in model.modules()]
    before = logits(model, tokens)
    add_low_rank(model, OPTIONS)
    assert torch.equal(logits(model, tokens), before)

    stir(model)
    adapted = logits(model, tokens)
    assert (adapted - before).abs().max() > 0.1
    assert merge_low_rank(model) == 16 + 12 + 4
    assert torch.equal(logits(model, tokens), adapted)
    assert list(model.state_dict()) == names
    assert [type(module) for module in model.modules()] == classes
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    hooks = [module._forward_hooks for module in model.modules()] + [m._forward_pre_hooks for m in model.modules()]
    assert not any(hooks)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_each_expert_has_its_own_update(make_model: ModelMaker, implementation: str) -> None:
    """Against experts written out by hand with the update added to the outputs, values and gradients."""
    model = make_model()
    model.set_experts_implementation(implementation)
    add_low_rank(model, OPTIONS)
    stir(model)
    experts: Any = model.mixtures[1].experts
    updates = {name: update for path, module, name, update in low_rank_updates(model) if module is experts}
    index_T1 = torch.tensor([[0], [3], [3], [7], [1]])
    weight_T1 = torch.tensor([[0.5], [1.0], [0.2], [0.7], [1.5]])
    x_TD = torch.randn(5, 64, generator=torch.Generator().manual_seed(2))

    def low_rank(name: str, expert: int, x_I: torch.Tensor) -> torch.Tensor:
        weight = experts.parametrizations[name].original[expert]
        a_RI, b_OR = updates[name].lora_A[expert], updates[name].lora_B[expert]
        return F.linear(x_I, weight) + 8 / 4 * F.linear(F.linear(x_I, a_RI), b_OR)

    rows = []
    for token, (expert, gate_value) in enumerate(zip(index_T1[:, 0].tolist(), weight_T1[:, 0], strict=True)):
        gate_F, up_F = low_rank("gate_up_proj", expert, x_TD[token]).chunk(2)
        rows.append(gate_value * low_rank("down_proj", expert, F.silu(gate_F) * up_F))
    expected_TD = torch.stack(rows)
    parameters = [parameter for update in updates.values() for parameter in (update.lora_A, update.lora_B)]
    given_TD = experts(x_TD, index_T1, weight_T1)
    assert (given_TD - expected_TD).abs().max() < 1e-5
    wanted = torch.autograd.grad(expected_TD.square().sum(), parameters)
    found = torch.autograd.grad(given_TD.square().sum(), parameters)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() < 1e-4 * max(1.0, float(other.abs().max()))
        assert other.abs().max() > 1e-3


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_peft_computes_the_same(make_model: ModelMaker, tokens: torch.Tensor, implementation: str) -> None:
    """An independent implementation, given the same A and B in its own layout."""
    ours, theirs = make_model(), make_model()
    add_low_rank(ours, OPTIONS)
    stir(ours)
    projections = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    wrapped: Any = peft.inject_adapter_in_model(
        peft.LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=projections,
            target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
        ),
        theirs,
    )
    for name, _, own_name, update in low_rank_updates(ours):
        path = name.removesuffix(f".{own_name}")
        layer = wrapped.get_submodule(path)
        if update.lora_A.dim() == 3:  # wrapped once for each of its two weights
            layer = layer if layer.parameter_name == own_name else layer.base_layer
            assert layer.parameter_name == own_name
        experts_major = update.lora_A.data.reshape(-1, update.lora_A.shape[-1])
        rank_major = update.lora_B.data
        if rank_major.dim() == 3:
            rank_major = rank_major.permute(1, 2, 0).reshape(rank_major.shape[1], -1)
        layer.lora_A["default"].weight.data.copy_(experts_major)
        layer.lora_B["default"].weight.data.copy_(rank_major)
    for model in (ours, theirs):
        model.set_experts_implementation(implementation)
    assert (logits(ours, tokens) - logits(theirs, tokens)).abs().max() < 1e-4
    assert (logits(ours, tokens) - logits(make_model(), tokens)).abs().max() > 0.1


def test_a_linear_update_is_the_paper_s(model: GPTMoEForCausalLM) -> None:
    add_low_rank(model, LowRankOptions(rank=4, alpha=6, rank_stabilized=True, targets=(ParameterKind.ATTENTION,)))
    stir(model)
    layer: Any = model.get_submodule("model.layers.0.self_attn.k_proj")
    update = layer.parametrizations.weight[0]
    x_TD = torch.randn(5, 64)
    expected = F.linear(x_TD, layer.parametrizations.weight.original)
    expected += 6 / 4**0.5 * F.linear(F.linear(x_TD, update.lora_A), update.lora_B)
    assert (layer(x_TD) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_only_updates_learn(
    make_model: ModelMaker, tokens: torch.Tensor, implementation: str, recomputed: bool
) -> None:
    model = make_model().train()
    model.set_experts_implementation(implementation)
    trained = tune(model, TuningOptions(part=TunedPart.LOW_RANK, lora=OPTIONS))
    if recomputed:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    frozen = {name: value.clone() for name, value in model.state_dict().items() if "lora" not in name}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in parameters) == trained.trained
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.5
    assert all(torch.equal(value, frozen[name]) for name, value in model.state_dict().items() if name in frozen)
    assert all(update.lora_B.abs().max() > 0 for _, _, _, update in low_rank_updates(model))
    model.eval()
    adapted = logits(model, tokens)
    assert finish_tuning(model) == 32
    assert (logits(model, tokens) - adapted).abs().max() <= 1e-6


def test_recomputing_gives_the_same_gradients(make_model: ModelMaker, tokens: torch.Tensor) -> None:
    gradients = []
    for recomputed in (False, True):
        model = make_model().train()
        add_low_rank(model, OPTIONS)
        stir(model)
        if recomputed:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model(input_ids=tokens, labels=tokens).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.requires_grad])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert other is not None
        assert torch.allclose(one, other, atol=1e-6)


def test_the_update_of_experts_is_computed_once_in_a_pass(
    model: GPTMoEForCausalLM, tokens: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_low_rank(model, OPTIONS)
    calls: list[torch.Size] = []
    original: Any = torch.baddbmm

    def counted(weight: torch.Tensor, *factors: torch.Tensor, **options: float) -> torch.Tensor:
        calls.append(weight.shape)
        updated: torch.Tensor = original(weight, *factors, **options)
        return updated

    monkeypatch.setattr(torch, "baddbmm", counted)
    model.set_experts_implementation("eager")
    logits(model, tokens)
    assert len(calls) == 4
    first = logits(model, tokens)
    stir(model)
    assert not torch.equal(logits(model, tokens), first), "a held update outlived its pass"


def test_bf16_keeps_updates_in_fp32_and_merges_exactly(make_model: ModelMaker, tokens: torch.Tensor) -> None:
    model = make_model().to(torch.bfloat16)
    add_low_rank(model, OPTIONS)
    stir(model)
    assert {update.lora_A.dtype for _, _, _, update in low_rank_updates(model)} == {torch.float32}
    adapted = logits(model, tokens)
    merge_low_rank(model)
    assert torch.equal(logits(model, tokens), adapted)


def test_a_merged_model_is_saved_as_any_other(model: GPTMoEForCausalLM, tokens: torch.Tensor, tmp_path: Path) -> None:
    add_low_rank(model, OPTIONS)
    stir(model)
    adapted = logits(model, tokens)
    merge_low_rank(model)
    model.save_pretrained(tmp_path)
    again = GPTMoEForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert (logits(again, tokens) - adapted).abs().max() <= 1e-6


def test_weights_of_a_checkpoint_are_merged_as_they_are_read(make_model: ModelMaker) -> None:
    model = make_model()
    natural = list(model.state_dict())
    options = LowRankOptions(rank=4, alpha=3, targets=(ParameterKind.EXPERTS, ParameterKind.DENSE))
    add_low_rank(model, options)
    stir(model)
    merged = MergedWeights({name: value.clone() for name, value in model.state_dict().items()}, options)
    assert sorted(merged) == sorted(natural)
    assert len(merged) == len(natural)
    read = dict(merged)
    merge_low_rank(model)
    assert all(torch.equal(value, read[name]) for name, value in model.state_dict().items())
    plain = make_model().state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in MergedWeights(plain, options).items())


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"rank": 0}, "rank=0 must be 1 to 1024"),
        ({"alpha": 0}, "alpha=0 must be a finite number above 0"),
        ({"alpha": float("inf")}, "alpha=inf"),
        ({"targets": ()}, "must be some of attention, dense, experts"),
        ({"targets": ("router",)}, r"targets=\['router'\] must be some of"),
        ({"targets": ("dense", "dense")}, "each once"),
        (
            {"rank": 32, "targets": ("attention",)},
            r"rank=32 must be below the smaller side of .*k_proj.weight \(32, 64\)",
        ),
    ],
)
def test_options_that_make_no_update_are_refused(
    model: GPTMoEForCausalLM, options: dict[str, object], fault: str
) -> None:
    with pytest.raises(RecipeError, match=fault):
        add_low_rank(model, LowRankOptions(**options))  # type: ignore[arg-type]


def test_a_dense_model_has_no_experts_to_update() -> None:
    from tests.model.tiny_dense import tiny_model

    with pytest.raises(RecipeError, match="has no experts to update"):
        add_low_rank(tiny_model("llama"), OPTIONS)
    trained = add_low_rank(
        tiny_model("qwen2"), LowRankOptions(rank=4, targets=(ParameterKind.ATTENTION, ParameterKind.DENSE))
    )
    assert trained.low_rank > 0


def test_a_broken_update_is_not_merged(model: GPTMoEForCausalLM) -> None:
    add_low_rank(model, OPTIONS)
    stir(model)
    name, _, _, update = list(low_rank_updates(model))[-1]
    update.lora_B.data.view(-1)[0] = torch.nan
    with pytest.raises(TrainingError, match=f"the update of {name} is not finite") as raised:
        merge_low_rank(model)
    assert isinstance(raised.value, MoesaicError)
    assert len(list(low_rank_updates(model))) == 32
