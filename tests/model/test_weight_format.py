"""`quantization_config`: ours passes compressed-tensors' own model, and what we don't know is refused by its name."""

import copy
from typing import Any

import pytest

from moesaic.errors import SchemeError
from moesaic.model.quantized import Scheme, quantization_config, weight_format
from moesaic.model.weight_format import WeightFormat
from tests.model.compressed_tensors_reference import QuantizationConfig


@pytest.mark.parametrize("scheme", Scheme)
def test_round_trip(scheme: Scheme) -> None:
    config = quantization_config(scheme)
    assert WeightFormat.parse(config) == weight_format(scheme)
    assert WeightFormat.parse(config).config() == config


@pytest.mark.parametrize("scheme", Scheme)
def test_compressed_tensors_understands_it_and_we_understand_its_own_writing(scheme: Scheme) -> None:
    config = quantization_config(scheme)
    theirs = QuantizationConfig.model_validate(config)
    group = theirs.config_groups["group_0"]
    assert not isinstance(group, list)
    assert group.weights is not None
    assert theirs.quant_method == "compressed-tensors"
    if scheme is Scheme.INT4:
        assert group.input_activations is None
        assert (theirs.format, group.weights.num_bits, group.weights.group_size) == ("pack-quantized", 4, 32)
    else:
        assert group.input_activations is not None
        assert (group.input_activations.num_bits, group.input_activations.strategy) == (8, "token")
        assert group.input_activations.dynamic is True
        assert (theirs.format, group.weights.num_bits, group.weights.strategy) == ("int-quantized", 8, "channel")
    assert WeightFormat.parse(theirs.model_dump(mode="json")) == weight_format(scheme)


def test_a_group_may_name_its_format() -> None:
    config = quantization_config(Scheme.INT4, group_size=64)
    config["config_groups"]["group_0"]["format"] = config.pop("format")
    assert WeightFormat.parse(config).group_size == 64


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("quant_method", "gptq", "quant_method='gptq'"),
        ("quant_method", None, "quant_method=None"),
        ("format", "float-quantized", "format='float-quantized'"),
        ("format", None, "format=None"),
        ("kv_cache_scheme", {"num_bits": 8}, "kv_cache_scheme="),
        ("sparsity_config", {"format": "sparse-24"}, "sparsity_config="),
        ("transform_config", {"config_groups": {}}, "transform_config="),
        ("config_groups", {}, "exactly one group"),
        ("config_groups", None, "exactly one group"),
        ("config_groups.group_0", {"targets": ["Linear"]}, "a group with weights"),
        ("config_groups.group_0.targets", ["re:.*q_proj"], "targets="),
        ("config_groups.group_0.output_activations", {"num_bits": 8}, "output_activations="),
        ("config_groups.group_0.input_activations", None, "input_activations=None"),
        ("config_groups.group_0.input_activations.num_bits", 4, "input_activations.num_bits=4"),
        ("config_groups.group_0.input_activations.symmetric", False, "input_activations.symmetric=False"),
        ("config_groups.group_0.input_activations.dynamic", False, "input_activations.dynamic=False"),
        ("config_groups.group_0.input_activations.strategy", "tensor", "input_activations.strategy='tensor'"),
        ("config_groups.group_0.input_activations.type", "float", "input_activations.type='float'"),
        ("config_groups.group_0.weights.num_bits", 4, "weights.num_bits=4"),
        ("config_groups.group_0.weights.num_bits", True, "weights.num_bits=True"),
        ("config_groups.group_0.weights.type", "float", "weights.type='float'"),
        ("config_groups.group_0.weights.symmetric", False, "weights.symmetric=False"),
        ("config_groups.group_0.weights.dynamic", True, "weights.dynamic=True"),
        ("config_groups.group_0.weights.strategy", "block", "weights.strategy='block'"),
        ("config_groups.group_0.weights.block_structure", [128, 128], "weights.block_structure="),
        ("config_groups.group_0.weights.actorder", "group", "weights.actorder='group'"),
        ("ignore", "lm_head", "ignore='lm_head'"),
        ("ignore", ["re:("], "no regular expression"),
    ],
)
def test_unknown_entries_are_refused(path: str, value: Any, message: str) -> None:
    config = copy.deepcopy(quantization_config(Scheme.INT8))
    *parents, last = path.split(".")
    place = config
    for parent in parents:
        place = place[parent]
    place[last] = value
    with pytest.raises(SchemeError, match=message.replace("(", r"\(")):
        WeightFormat.parse(config)


@pytest.mark.parametrize(
    ("entry", "value"),
    [("group_size", None), ("group_size", 12), ("group_size", -1), ("num_bits", 8), ("strategy", "channel")],
)
def test_packed_weights_need_four_bits_and_whole_groups(entry: str, value: object) -> None:
    config = copy.deepcopy(quantization_config(Scheme.INT4))
    config["config_groups"]["group_0"]["weights"][entry] = value
    with pytest.raises(SchemeError, match=f"weights.{entry}={value!r}"):
        WeightFormat.parse(config)
    config = copy.deepcopy(quantization_config(Scheme.INT4))
    config["config_groups"]["group_0"]["input_activations"] = {"num_bits": 8}
    with pytest.raises(SchemeError, match="input_activations="):
        WeightFormat.parse(config)


def test_ignore_entries_match_as_in_vllm() -> None:
    form = weight_format(Scheme.INT4)
    assert form.ignores("lm_head")
    assert form.ignores("model.layers.3.mlp.gate")
    assert form.ignores("model.layers.3.self_attn.q_proj")
    assert not form.ignores("model.layers.3.mlp.gate_proj")
    assert not form.ignores("model.layers.3.mlp.experts.8.up_proj")
    assert not form.ignores("model.lm_head.up_proj")
