"""The mapping between disk and memory: exact in both directions, and strict about what it finds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from moesaic.errors import DamagedArtifactError
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.checkpoint import count_parameters, disk_tensors, expected_shapes, expert_matrix
from moesaic.model.config import GPTMoEConfig
from moesaic.model.shards import ShardReader, ShardWriter


def rewritten(source, target, change):
    """Copy an artifact's weights through `change(dict)`."""
    target.mkdir()
    (target / "config.json").write_bytes((source / "config.json").read_bytes())
    with ShardReader(source) as reader, ShardWriter(target) as writer:
        tensors = {name: reader.read(name) for name in reader.names}
        change(tensors)
        for name, tensor in tensors.items():
            writer.write(name, tensor)
    return target


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from([0, 2, 3, 5]), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_disk_layout_has_the_expected_names_and_shapes_and_maps_back(counts, residual, tied, biased, normed):
    config = GPTMoEConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=len(counts),
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts_per_layer=counts,
        moe_residual=residual,
        tie_word_embeddings=tied,
        attention_bias=biased,
        qk_norm=normed,
    )
    model = GPTMoEForCausalLM(config)
    disk = dict(disk_tensors(model.state_dict(), config))
    assert {name: tuple(t.shape) for name, t in disk.items()} == expected_shapes(config)
    assert count_parameters(config).total == sum(t.numel() for t in disk.values())


def test_a_saved_model_loads_bit_equal_through_auto(tmp_path, tiny_model, tokens):
    tiny_model.save_pretrained(tmp_path)
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(loaded, GPTMoEForCausalLM)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    state = loaded.state_dict()
    for name, tensor in tiny_model.state_dict().items():
        assert torch.equal(state[name], tensor), name
    assert torch.equal(loaded(input_ids=tokens).logits, tiny_model(input_ids=tokens).logits)


def test_a_sharded_save_loads_as_well(tmp_path, tiny_model, tokens):
    tiny_model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(loaded(input_ids=tokens).logits, tiny_model(input_ids=tokens).logits)


def test_the_residual_mlp_is_the_last_slot_and_the_coefficients_the_last_gate_rows(tiny_model, tiny_config):
    disk = dict(disk_tensors(tiny_model.state_dict(), tiny_config))
    for layer, experts in ((1, 4), (3, 8)):
        mixture = tiny_model.model.layers[layer].mlp
        assert torch.equal(disk[expert_matrix(layer, experts, "up_proj")], mixture.residual.up_proj.weight)
        gate = disk[f"model.layers.{layer}.mlp.gate.weight"]
        assert gate.dtype == torch.float32
        assert torch.equal(gate[experts:], mixture.coefficients.weight)
        assert torch.equal(disk[f"model.layers.{layer}.mlp.gate.bias"][:experts], mixture.gate.bias)


@pytest.mark.parametrize("fault", ["swap_experts", "swap_gate_rows", "swap_coefficients"])
def test_one_exchanged_pair_changes_the_logits(tmp_path, tiny_model, tokens, fault):
    def plant(tensors):
        if fault == "swap_experts":
            for matrix in ("gate_proj", "up_proj", "down_proj"):
                a, b = expert_matrix(3, 0, matrix), expert_matrix(3, 8, matrix)
                tensors[a], tensors[b] = tensors[b], tensors[a]
        else:
            rows = [0, 1] if fault == "swap_gate_rows" else [8, 9]
            for kind in ("weight", "bias"):
                gate = tensors[f"model.layers.3.mlp.gate.{kind}"]
                gate[rows] = gate[rows[::-1]].clone()

    tiny_model.save_pretrained(tmp_path / "sound")
    faulty = AutoModelForCausalLM.from_pretrained(rewritten(tmp_path / "sound", tmp_path / "faulty", plant))
    assert (faulty(input_ids=tokens).logits - tiny_model(input_ids=tokens).logits).abs().mean() > 1e-3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.pop(expert_matrix(3, 8, "down_proj")), "lacks 1 of"),
        (lambda t: t.update({expert_matrix(1, 5, "up_proj"): torch.zeros(96, 64)}), "superfluous"),
        (lambda t: t.update({"model.norm.weight": torch.zeros(63)}), r"model.norm.weight has shape \(63,\)"),
    ],
)
def test_foreign_tensors_are_refused_by_name(tmp_path, tiny_model, change, named):
    tiny_model.save_pretrained(tmp_path / "sound")
    folder = rewritten(tmp_path / "sound", tmp_path / "foreign", change)
    with pytest.raises(DamagedArtifactError, match=named):
        AutoModelForCausalLM.from_pretrained(folder)


def test_a_folder_without_weights_is_refused(tmp_path, tiny_config):
    tiny_config.save_pretrained(tmp_path)
    with pytest.raises(DamagedArtifactError, match="safetensors"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


def test_active_parameters_leave_out_the_experts_that_a_token_does_not_visit(tiny_config):
    counts = count_parameters(tiny_config)
    assert counts.total - counts.active == (3 + 7) * 3 * 64 * 96


def test_parameters_of_the_pai_model():
    # The published card (Alibaba PAI GPT-MoE) says 16 billion with two-matrix GELU experts of width 4h; SwiGLU experts
    # of width 5504 hold as much within a few per cent.
    config = GPTMoEConfig(
        vocab_size=51200,
        hidden_size=2048,
        intermediate_size=5504,
        num_hidden_layers=24,
        num_attention_heads=16,
        num_experts_per_layer=[0, 32] * 10 + [0, 64] * 2,
    )
    assert count_parameters(config).total == pytest.approx(16.35e9, rel=0.03)
