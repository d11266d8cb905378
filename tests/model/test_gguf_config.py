"""Metadata of GGUF files as configurations: rotary scaling above all, which files spell in several ways."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from moesaic.errors import UnsupportedModelError
from moesaic.model.dense_config import dense_config
from moesaic.model.gguf_config import gguf_config, llama3_factors

METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.context_length": 4096,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 96,
    "llama.attention.head_count": 4,
    "llama.attention.layer_norm_rms_epsilon": 9.999999747378752e-06,
}


def config_of(factors: list[float] | None = None, **changes: Any) -> dict[str, Any]:
    metadata = METADATA | {name.replace("__", "."): value for name, value in changes.items()}
    raw = gguf_config(
        metadata, vocab_size=320, tensor_names=["token_embd.weight"], frequency_factors=factors, where="the file"
    )
    return dense_config(raw, "the file")


def test_defaults_of_the_format_are_filled_in() -> None:
    config = config_of()
    assert config["num_key_value_heads"] == config["num_attention_heads"] == 4
    assert config["head_dim"] == 16
    assert config["rms_norm_eps"] == 1e-05
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 10000.0}
    assert config["tie_word_embeddings"] is True
    assert config["bos_token_id"] is config["eos_token_id"] is config["pad_token_id"] is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"llama.rope.scaling.type": "none"}, {"rope_type": "default"}),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 1.0}, {"rope_type": "default"}),
        (
            {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
            {"rope_type": "linear", "factor": 4.0},
        ),
        ({"llama.rope.scale_linear": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        (
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 4.0,
                "llama.rope.scaling.original_context_length": 1024,
                "llama.rope.scaling.yarn_beta_fast": 16.0,
            },
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024, "beta_fast": 16.0},
        ),
    ],
)
def test_scaling_by_name(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    assert config_of(**changes)["rope_parameters"] == {"rope_theta": 10000.0, **expected}


@pytest.mark.parametrize(
    "changes",
    [
        {"llama.rope.scaling.type": "longrope", "llama.rope.scaling.factor": 4.0},
        {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0, "llama.rope.scaling.attn_factor": 0.5},
    ],
)
def test_unknown_scaling_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModelError, match="supported are linear, yarn and llama3"):
        config_of(**changes)


@given(
    factor=st.sampled_from([2.0, 8.0, 32.0]),
    length=st.sampled_from([2048, 4096, 8192]),
    theta=st.sampled_from([10000.0, 500000.0]),
    head_dim=st.sampled_from([64, 80, 128]),
)
def test_llama3_scaling_is_traced_back_from_its_factors(
    factor: float, length: int, theta: float, head_dim: int
) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": length,
    }
    stored = torch.tensor(llama3_factors(rope, head_dim)).tolist()  # files hold float32
    changes = {"llama.rope.freq_base": theta, "llama.attention.key_length": head_dim}
    assert config_of(stored, **changes, **{"llama.attention.value_length": head_dim})["rope_parameters"] == rope


@given(factor=st.floats(1.5, 64), theta=st.floats(1000, 1e6), length=st.integers(512, 65536))
def test_llama3_factors_are_those_of_transformers(factor: float, theta: float, length: int) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": length,
    }
    config = LlamaConfig(head_dim=64, max_position_embeddings=10**6, rope_parameters=dict(rope))
    frequencies, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = theta ** (-torch.arange(0, 64, 2, dtype=torch.float64) / 64)
    expected = plain / frequencies.double()
    assert torch.allclose(torch.tensor(llama3_factors(rope, 64), dtype=torch.float64), expected, rtol=1e-3)


def test_factors_of_one_mean_no_scaling() -> None:
    assert config_of([1.0] * 8)["rope_parameters"]["rope_type"] == "default"


@pytest.mark.parametrize("factors", [[2.0] * 8, [1.0, 1.0, 1.0, 1.0, 8.0, 8.0, 8.0, 3.0], [1.0, 8.0]])
def test_factors_of_no_known_scaling_are_refused(factors: list[float]) -> None:
    with pytest.raises(UnsupportedModelError, match="by factors that no Llama 3 setting gives"):
        config_of(factors)
