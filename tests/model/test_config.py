"""The configuration refuses what cannot be, and survives a round trip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig

from moesaic.errors import ConfigError
from moesaic.model.config import GPTMoEConfig, pyramid

BASE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}


def test_pyramid_of_the_pai_model():
    counts = pyramid(24, 32)
    assert [count for count in counts if count] == [32] * 10 + [64] * 2
    assert [layer for layer, count in enumerate(counts) if count] == list(range(1, 24, 2))


@given(st.integers(1, 60), st.integers(1, 64), st.integers(1, 64), st.integers(1, 4), st.integers(0, 4))
def test_pyramid_puts_the_larger_count_last(layers, experts, experts_last, interval, last):
    mixtures = [
        count for count in pyramid(layers, experts, experts_last, interval=interval, offset=0, last=last) if count
    ]
    assert len(mixtures) == -(-layers // interval)
    high = min(last, len(mixtures))
    assert mixtures == [experts] * (len(mixtures) - high) + [experts_last] * high


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"num_experts_per_layer": [0, 4, 4]}, "3 entries for 2 layers"),
        ({"num_experts_per_layer": [0, -1]}, "negative"),
        ({"num_experts_per_tok": 2}, "exactly 1 expert"),
        ({"num_experts_per_layer": [0, 1], "moe_residual": False}, "dense layer"),
        ({"num_experts_per_layer": [0, 4], "moe_intermediate_size": 128}, "differs from intermediate_size"),
        ({"router_gate_mode": "sigmoid"}, "sigmoid"),
        ({"router_aux_loss_coef": -0.1}, "router_aux_loss_coef=-0.1"),
        ({"router_jitter": 1.5}, "router_jitter=1.5"),
        ({"router_z_loss_coef": float("nan")}, "nan"),
        ({"num_key_value_heads": 3}, "not a multiple"),
        ({"hidden_act": "gelu"}, "SwiGLU"),
    ],
)
def test_contradictions_are_refused_by_name(wrong, named):
    with pytest.raises(ConfigError, match=named):
        GPTMoEConfig(**BASE, **wrong)


def test_unequal_widths_are_fine_without_the_residual_branch():
    config = GPTMoEConfig(**BASE, num_experts_per_layer=[0, 4], moe_intermediate_size=128, moe_residual=False)
    assert config.moe_intermediate_size == 128


@pytest.mark.parametrize("arguments", [(0, 4), (4, 0), (4, 4, 0)])
def test_pyramid_refuses_nothing_as_a_count(arguments):
    with pytest.raises(ConfigError):
        pyramid(*arguments)


def test_round_trip_through_a_folder(tmp_path, tiny_config):
    tiny_config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, GPTMoEConfig)
    assert loaded.num_experts_per_layer == [0, 4, 0, 8]
    assert loaded.num_experts == 8
    assert loaded.moe_layers == [1, 3]
