"""Configurations of dense bases: completed as transformers would, or refused by name."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from moesaic.errors import UnsupportedModelError
from moesaic.model.config import GPTMoEConfig
from moesaic.model.dense_config import SUPPORTED_MODELS, dense_config, dense_shapes
from moesaic.model.upcycling import UpcycleOptions, upcycled_config
from tests.model.tiny_dense import weights_of

SIZES: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


def raw(family: str, **changes: Any) -> dict[str, Any]:
    """What a config.json may hold; None leaves a field out."""
    fields = SIZES | {"model_type": family, "architectures": [SUPPORTED_MODELS.get(family, "Other")]}
    if family == "mistral":
        fields["sliding_window"] = None
    return {name: value for name, value in (fields | changes).items() if value is not None or name == "sliding_window"}


def shapes_of_stock_model(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes that transformers gives a model of this configuration."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    return {name: tuple(tensor.shape) for name, tensor in weights_of(model).items()}


class TestCompletion:
    @pytest.mark.parametrize("family", SUPPORTED_MODELS)
    def test_every_field_is_explicit_and_json(self, family: str) -> None:
        config = dense_config(raw(family), "the base")
        assert json.loads(json.dumps(config)) == config
        open_fields = {name for name, value in config.items() if value is None}
        assert open_fields <= {"dtype", "bos_token_id", "eos_token_id", "pad_token_id", "sliding_window"}
        assert config["head_dim"] == (128 if family == "qwen3" else 16)
        assert config["architectures"] == [SUPPORTED_MODELS[family]]

    @pytest.mark.parametrize("family", SUPPORTED_MODELS)
    def test_upcycling_takes_it(self, family: str) -> None:
        config = dense_config(raw(family), "the base")
        assert isinstance(upcycled_config(config, UpcycleOptions(experts=2)), GPTMoEConfig)

    def test_special_ids_are_not_guessed(self) -> None:
        config = dense_config(raw("llama", eos_token_id=[5, 6], pad_token_id=-1), "the base")
        assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (None, [5, 6], None)

    def test_old_name_of_the_type(self) -> None:
        assert dense_config(raw("llama", torch_dtype="bfloat16"), "the base")["dtype"] == "bfloat16"

    def test_llama_without_key_value_heads_has_as_many_as_heads(self) -> None:
        assert dense_config(raw("llama", num_key_value_heads=None), "the base")["num_key_value_heads"] == 4


class TestRope:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ({"rope_theta": 5e5}, {"rope_type": "default", "rope_theta": 5e5}),
            (
                {"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 4.0}},
                {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
            ),
            (
                {"rope_theta": 1e4, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
                {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
            ),
            (
                {
                    "rope_theta": 1e6,
                    "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
                },
                {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 64},
            ),
            (
                {
                    "rope_theta": 5e5,
                    "rope_scaling": {
                        "rope_type": "llama3",
                        "factor": 8.0,
                        "low_freq_factor": 1.0,
                        "high_freq_factor": 4.0,
                        "original_max_position_embeddings": 64,
                    },
                },
                {
                    "rope_type": "llama3",
                    "rope_theta": 5e5,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 64,
                },
            ),
        ],
    )
    def test_old_spelling_becomes_the_new_one(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        from_old = dense_config(raw("llama", **old), "the base")
        from_new = dense_config(raw("llama", rope_parameters=dict(new)), "the base")
        assert from_old["rope_parameters"] == from_new["rope_parameters"] == new
        stock = LlamaRotaryEmbedding(AutoConfig.for_model(**raw("llama", **old)))
        ours = LlamaRotaryEmbedding(AutoConfig.for_model(**from_old))
        assert torch.equal(stock.inv_freq, ours.inv_freq)
        assert stock.attention_scaling == ours.attention_scaling

    @pytest.mark.parametrize(
        "rope",
        [
            {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "rope_theta": 1e4},
            {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
            {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
            {"rope_type": "unheard-of", "rope_theta": 1e4},
        ],
    )
    def test_other_rotary_embeddings_are_refused(self, rope: dict[str, Any]) -> None:
        with pytest.raises(UnsupportedModelError, match=r"rotary|rope"):
            dense_config(raw("llama", rope_parameters=rope), "the base")


class TestRefusals:
    @pytest.mark.parametrize(
        ("family", "changes"),
        [
            ("gemma2", {}),
            ("mixtral", {}),
            ("llama", {"architectures": ["LlamaForSequenceClassification"]}),
            ("llama", {"auto_map": {"AutoModelForCausalLM": "modeling_mine.MyModel"}}),
            ("llama", {"model_type": None}),
        ],
    )
    def test_other_architectures_list_the_supported_ones(self, family: str, changes: dict[str, Any]) -> None:
        with pytest.raises(UnsupportedModelError) as caught:
            dense_config(raw(family, **changes), "the base")
        for name in ("llama", "mistral", "qwen2", "qwen3", "Qwen3ForCausalLM"):
            assert name in str(caught.value)

    def test_mixture_is_no_base(self) -> None:
        with pytest.raises(UnsupportedModelError, match="already a mixture"):
            dense_config(raw("gpt_moe"), "the base")

    @pytest.mark.parametrize(
        ("family", "changes"),
        [
            ("mistral", {"sliding_window": 128}),
            ("qwen2", {"use_sliding_window": True, "sliding_window": 128, "max_window_layers": 1}),
            ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}),
        ],
    )
    def test_sliding_windows(self, family: str, changes: dict[str, Any]) -> None:
        with pytest.raises(UnsupportedModelError, match="sliding window"):
            dense_config(raw(family, **changes), "the base")

    def test_mistral_without_the_field_has_a_window(self) -> None:
        fields = raw("mistral")
        del fields["sliding_window"]
        with pytest.raises(UnsupportedModelError, match="sliding_window=4096"):
            dense_config(fields, "the base")

    def test_window_that_is_switched_off_is_none(self) -> None:
        config = dense_config(raw("qwen2", use_sliding_window=False, sliding_window=128), "the base")
        assert config["sliding_window"] is None

    def test_quantized_weights(self) -> None:
        with pytest.raises(UnsupportedModelError, match="quant_method='gptq'"):
            dense_config(raw("llama", quantization_config={"quant_method": "gptq", "bits": 4}), "the base")

    @pytest.mark.parametrize(
        ("family", "missing"),
        [("llama", "hidden_size"), ("mistral", "num_key_value_heads"), ("qwen3", "num_key_value_heads")],
    )
    def test_sizes_are_not_guessed(self, family: str, missing: str) -> None:
        with pytest.raises(UnsupportedModelError, match=f"does not give {missing}"):
            dense_config(raw(family, **{missing: None}), "the base")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
            ({"num_key_value_heads": 3}, "4 query heads, 3 key/value heads"),
            ({"head_dim": 15}, "even rotary dimension"),
            ({"intermediate_size": -1}, "intermediate_size=-1"),
            ({"num_hidden_layers": 0}, "num_hidden_layers=0"),
            ({"vocab_size": "many"}, "transformers refuses"),
        ],
    )
    def test_values_that_make_no_model(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(UnsupportedModelError, match=message):
            dense_config(raw("llama", **changes), "the base")


class TestShapes:
    @pytest.mark.parametrize(
        ("family", "changes"),
        [
            ("llama", {"attention_bias": True, "mlp_bias": True}),
            ("llama", {"tie_word_embeddings": True, "head_dim": 24}),
            ("mistral", {"head_dim": 24}),
            ("qwen2", {"tie_word_embeddings": True}),
            ("qwen3", {"attention_bias": True}),
        ],
    )
    def test_are_those_of_the_stock_model(self, family: str, changes: dict[str, Any]) -> None:
        config = dense_config(raw(family, **changes), "the base")
        assert dense_shapes(config) == shapes_of_stock_model(config)

    @settings(max_examples=15)
    @given(
        family=st.sampled_from(sorted(SUPPORTED_MODELS)),
        groups=st.integers(1, 3),
        queries=st.integers(1, 3),
        half=st.integers(1, 8),
        layers=st.integers(1, 3),
        tied=st.booleans(),
    )
    def test_are_those_of_the_stock_model_for_all_sizes(
        self, family: str, groups: int, queries: int, half: int, layers: int, tied: bool
    ) -> None:
        heads = groups * queries
        changes = {
            "num_key_value_heads": groups,
            "num_attention_heads": heads,
            "head_dim": 2 * half,
            "hidden_size": 16 * heads,
            "num_hidden_layers": layers,
            "tie_word_embeddings": tied,
        }
        config = dense_config(raw(family, **changes), "the base")
        assert dense_shapes(config) == shapes_of_stock_model(config)

    def test_order_is_that_of_the_forward_pass(self) -> None:
        names = list(dense_shapes(dense_config(raw("llama"), "the base")))
        assert (names[0], *names[-2:]) == ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
        layers = [int(name.split(".")[2]) for name in names if ".layers." in name]
        assert layers == sorted(layers)
