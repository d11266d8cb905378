"""Artifacts as ordinary models: whole, dequantized, or refused."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from moesaic.errors import DamagedArtifactError, SchemeError
from moesaic.model.conversion import pack, quantize, upcycle
from moesaic.model.plain import load_plain
from moesaic.model.quantized import Scheme
from moesaic.model.shards import ShardReader, ShardWriter
from moesaic.model.upcycling import UpcycleOptions

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture
def moe(llama_folder, tmp_path):
    return upcycle(str(llama_folder), tmp_path / "moe", UpcycleOptions(experts=2, noise=0.3), dtype="float32")


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_quantized_mixture_loads_dequantized_through_auto(moe, tmp_path, tokens, scheme):
    quantize(moe.folder, tmp_path / "quantized", scheme)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "quantized", dtype=torch.float32)
    assert not hasattr(model.config, "quantization_config")
    reference = AutoModelForCausalLM.from_pretrained(moe.folder)
    state, expected = model.state_dict(), reference.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        scale = expected[name].abs().max() or 1.0
        assert (tensor - expected[name]).abs().max() <= scale * (0.01 if scheme is not Scheme.INT4 else 0.2), name


def test_a_quantized_dense_model_loads_dequantized(llama_folder, tmp_path, tokens):
    dense = pack(str(llama_folder), tmp_path / "dense", dtype="float32")
    quantize(dense.folder, tmp_path / "int8", Scheme.INT8)
    difference = (
        load_plain(tmp_path / "int8")(input_ids=tokens).logits - load_plain(dense.folder)(input_ids=tokens).logits
    )
    assert 0 < difference.abs().max() < 0.5


def test_an_unknown_quantization_is_refused_not_half_loaded(moe, tmp_path):
    artifact = quantize(moe.folder, tmp_path / "int8", Scheme.INT8)
    config = json.loads(artifact.path("config.json").read_text())
    config["quantization_config"]["quant_method"] = "gptq"
    artifact.path("config.json").write_text(json.dumps(config))
    with pytest.raises(SchemeError, match="gptq"):
        AutoModelForCausalLM.from_pretrained(artifact.folder)


def test_a_dense_model_without_one_tensor_is_refused(llama_folder, tmp_path):
    dense = pack(str(llama_folder), tmp_path / "dense", dtype="float32")
    reader = ShardReader(dense.folder)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "config.json").write_bytes(dense.path("config.json").read_bytes())
    with ShardWriter(tmp_path / "cut") as writer:
        for name in reader.names[:-1]:
            writer.write(name, reader.read(name))
    with pytest.raises(DamagedArtifactError, match="missing_keys"):
        load_plain(tmp_path / "cut")


def test_quantizing_twice_is_refused(moe, tmp_path):
    quantize(moe.folder, tmp_path / "int8", Scheme.INT8)
    with pytest.raises(SchemeError, match="already quantized"):
        quantize(tmp_path / "int8", tmp_path / "again", Scheme.INT8)
    assert not (tmp_path / "again").exists()
