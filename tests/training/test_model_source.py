"""Training begins with new, upcycled or continued weights, in fp32, and their tokenizer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from moesaic.errors import InputError, RecipeError, TokenizerError
from moesaic.model import conversion
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.checkpoint import count_parameters
from moesaic.model.config import GPTMoEConfig
from moesaic.model.plain import load_plain
from moesaic.model.quantized import parse_scheme
from moesaic.model.upcycling import UpcycleOptions
from moesaic.training.initial_weights import give_memory, is_described
from moesaic.training.model_source import ModelConfig, empty_model, scratch_config, starting_model
from moesaic.training.presets import PRESETS, preset_fields
from moesaic.training.run_artifact import write_start
from tests.model.tiny_dense import tiny_model as tiny_dense
from tests.server.engine.tiny_artifact import write_tokenizer

IDS = torch.arange(24).reshape(2, 12) * 11 % 320


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a tokenizer of bytes."""
    folder = tmp_path_factory.mktemp("dense")
    tiny_dense("llama", eos_token_id=256, bos_token_id=None).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS).logits
    return found


def preset_parameters(name: str) -> tuple[int, int]:
    """Total and active parameters, counted by hand from the preset's sizes."""
    fields = preset_fields(name)
    d, f, v = fields["hidden_size"], fields["intermediate_size"], fields["vocab_size"]
    total, idle = v * d + d, 0
    for experts in fields["num_experts_per_layer"]:
        total += 4 * d * d + 2 * d  # attention (no grouped queries in the presets) and two norms
        total += (experts + 1) * 3 * d * f if experts else 3 * d * f
        total += (experts + 2) * (d + 1) if experts else 0
        idle += max(0, experts - 1) * 3 * d * f
    return total, total - idle


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_parameters_of_the_formula(name: str) -> None:
    config = GPTMoEConfig(**preset_fields(name))
    assert tuple(count_parameters(config)) == preset_parameters(name)
    with torch.device("meta"):
        model = GPTMoEForCausalLM(config)
    buffers = sum(config.expert_counts)  # the balancing bias: stored, not trained
    stored = sum(parameter.numel() for parameter in model.parameters()) + buffers
    assert stored == preset_parameters(name)[0]


def test_the_presets_are_as_large_as_they_say() -> None:
    total, active = preset_parameters("pai-16b")
    assert (total, active) == (16_470_002_136, 1_725_975_000)
    for name in ("tiny", "small"):
        sizes = preset_parameters(name), preset_parameters(f"{name}-dense")
        assert 2e6 <= sizes[0][0] <= 5e6
        # Equal operations per token: active parameters differ by the router and the coefficients alone.
        assert abs(sizes[0][1] - sizes[1][1]) < 0.002 * sizes[1][1]


def test_a_new_model_takes_the_tokenizers_vocabulary(dense: Path) -> None:
    start = starting_model(ModelConfig(preset="tiny", tokenizer=dense, config={"hidden_size": 64}))
    assert start.model.config.vocab_size == 320  # 257 tokens, rounded up
    assert start.model.config.hidden_size == 64
    assert start.model.config.eos_token_id == 256
    assert {parameter.dtype for parameter in start.model.parameters()} == {torch.float32}
    assert start.origin.base == "scratch"


def test_a_vocabulary_that_is_too_small_is_refused(dense: Path) -> None:
    with pytest.raises(TokenizerError):
        starting_model(ModelConfig(preset="tiny", tokenizer=dense, config={"vocab_size": 200}))


def test_an_upcycled_model_without_dropping_computes_what_its_base_does(dense: Path) -> None:
    options = UpcycleOptions(experts=2, experts_last=3, last=1)
    start = starting_model(ModelConfig(start="upcycle", base=str(dense), upcycle=options))
    assert start.model.config.expert_counts == [0, 3]
    base = AutoModelForCausalLM.from_pretrained(dense, dtype=torch.float32)
    torch.testing.assert_close(logits(start.model), logits(base), atol=1e-4, rtol=1e-4)
    assert start.tokenizer.eos_token == "<|end|>"


def test_dropping_is_the_default_of_training() -> None:
    assert ModelConfig(start="upcycle", base="x").upcycle.drop_ratio == 0.5


def test_a_dense_model_is_continued_as_it_is(dense: Path) -> None:
    start = starting_model(ModelConfig(start="continue", base=str(dense)))
    base = AutoModelForCausalLM.from_pretrained(dense, dtype=torch.float32)
    torch.testing.assert_close(logits(start.model), logits(base))


def test_a_mixture_is_continued_from_a_folder_or_an_artifact(dense: Path, tmp_path: Path) -> None:
    options = UpcycleOptions(experts=2, experts_last=3, last=1, drop_ratio=0.5)
    artifact = conversion.upcycle(str(dense), tmp_path / "moe", options, dtype="float32")
    start = starting_model(ModelConfig(start="continue", base=str(tmp_path / "moe")))
    expected = GPTMoEForCausalLM.from_pretrained(tmp_path / "moe", dtype=torch.float32)
    torch.testing.assert_close(logits(start.model), logits(expected))
    assert start.origin.parent == artifact.digest
    assert [step.operation for step in start.origin.ancestors] == ["upcycle"]
    (tmp_path / "moe" / "moesaic.json").unlink()
    plain = starting_model(ModelConfig(start="continue", base=str(tmp_path / "moe")))
    torch.testing.assert_close(logits(plain.model), logits(expected))
    assert plain.origin.parent is None


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_a_quantized_artifact_is_continued_with_what_its_weights_stand_for(
    dense: Path, tmp_path: Path, scheme: str
) -> None:
    options = UpcycleOptions(experts=2, experts_last=3, last=1)
    conversion.upcycle(str(dense), tmp_path / "moe", options, dtype="float32")
    conversion.quantize(tmp_path / "moe", tmp_path / scheme, parse_scheme(scheme))
    start = starting_model(ModelConfig(start="continue", base=str(tmp_path / scheme)))
    torch.testing.assert_close(logits(start.model), logits(load_plain(tmp_path / scheme)))
    assert not hasattr(start.model.config, "quantization_config")
    assert {parameter.dtype for parameter in start.model.parameters()} == {torch.float32}


def test_what_was_kept_of_the_start_makes_the_same_model(dense: Path, tmp_path: Path) -> None:
    config = ModelConfig(start="upcycle", base=str(dense), upcycle=UpcycleOptions(experts=2, last=1))
    start = starting_model(config)
    write_start(tmp_path / "start", start)
    again = empty_model(tmp_path / "start", config)
    assert is_described(again)
    give_memory(again, torch.device("cpu"))
    again.load_state_dict(start.model.state_dict())
    torch.testing.assert_close(logits(again), logits(start.model))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "needs a preset"),
        ({"preset": "tiny"}, "needs tokenizer"),
        ({"preset": "tiny", "tokenizer": Path("t"), "base": "b"}, "with start='scratch'"),
        ({"start": "upcycle"}, "needs base"),
        ({"start": "continue", "base": "b", "preset": "tiny"}, "the base decides"),
        ({"preset": "huge", "tokenizer": Path("t")}, "'huge' is unknown"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        ModelConfig(**fields)


def test_fields_that_no_model_has_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.config\.hiden_size is no field"):
        scratch_config(ModelConfig(preset="tiny", tokenizer=Path("t"), config={"hiden_size": 3}), None)
    with pytest.raises(RecipeError, match="must be a finite number"):
        scratch_config(ModelConfig(preset="tiny", tokenizer=Path("t"), config={"router_jitter": 2.0}), None)


def test_a_base_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        starting_model(ModelConfig(start="continue", base=str(tmp_path / "none")))
