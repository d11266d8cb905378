"""Expert probes: every planted fault is seen in every mixture and precision, and rounding is not."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesaic.artifact import ExpertProbe
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.checkpoint import expected_shapes
from moesaic.model.config import GPTMoEConfig
from moesaic.model.plain import load_plain
from moesaic.model.probes import make_probes, probe_inputs, probe_projection, replay_probes, run_probe
from moesaic.model.quantized import Scheme, quantization_config
from moesaic.model.quantizer import quantize_weights
from moesaic.model.shards import ShardReader, ShardWriter
from tests.model.planted_faults import FAULTS, plant

LAYERS = (1, 3)
FIRST_INPUTS = [[-91.0, -101.0, 75.0], [68.0, 182.0, -36.0]]
FIRST_SIGNS = [-1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0]
SIZES = {
    "tiny": {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2},
    "smollm2": {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3},
}


def upcycled(size: str) -> tuple[GPTMoEConfig, dict[str, torch.Tensor]]:
    """A model as upcycling makes it: one MLP per layer, its experts copies that noise of half its spread sets apart."""
    config = GPTMoEConfig(
        **SIZES[size],
        vocab_size=64,
        num_hidden_layers=4,
        max_position_embeddings=64,
        num_experts_per_layer=[0, 4, 0, 8],
        tie_word_embeddings=True,
        dtype="bfloat16",
    )
    random = torch.Generator().manual_seed(3)
    bases: dict[tuple[str, ...], torch.Tensor] = {}
    tensors = {}
    for name, shape in expected_shapes(config).items():
        parts = name.split(".")
        if "experts" in parts:
            base = bases.setdefault((parts[2], parts[6]), torch.randn(shape, generator=random) / shape[1] ** 0.5)
            slot, layer = int(parts[5]), int(parts[2])
            routed = slot < (config.num_experts_per_layer or [])[layer]
            noise = 0.5 * routed * base.std() * torch.randn(shape, generator=random)
            tensors[name] = (base + noise).bfloat16()
        elif ".mlp.gate." in name:
            tensors[name] = 0.02 * torch.randn(shape, generator=random)
        else:
            tensors[name] = (torch.randn(shape, generator=random) / shape[-1] ** 0.5).bfloat16()
    return config, tensors


def write_model(folder: Path, size: str, scheme: Scheme | None = None) -> Path:
    """The folder of that model, as far as probes need it."""
    config, tensors = upcycled(size)
    plain = folder / "plain"
    for target in {plain, folder / "model"}:
        target.mkdir(parents=True, exist_ok=True)
    with ShardWriter(plain) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor)
    fields = config.to_dict() | {"dtype": "bfloat16"}
    (plain / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    if scheme is None:
        return plain

    with ShardReader(plain) as reader, ShardWriter(folder / "model") as writer:
        quantize_weights(reader, writer, scheme)
    fields["quantization_config"] = quantization_config(scheme)
    (folder / "model" / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    return folder / "model"


@pytest.fixture(autouse=True)
def quiet_threads(single_thread: None) -> None:
    """One thread for all of these."""


@pytest.fixture(
    scope="module",
    params=[("tiny", None), ("tiny", Scheme.INT8), ("tiny", Scheme.INT4), ("smollm2", None), ("smollm2", Scheme.INT8)],
    ids=lambda pair: f"{pair[0]}-{pair[1] or 'bf16'}",
)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[ExpertProbe, ...]]:
    """A folder and its probes."""
    size, scheme = request.param
    folder = write_model(tmp_path_factory.mktemp("probes"), size, scheme)
    return folder, make_probes(folder)


def errors(probes: tuple[ExpertProbe, ...], observed: list[list[list[float]]]) -> list[float]:
    """Errors as multiples of the thresholds."""
    return [probe.error(seen) / probe.threshold for probe, seen in zip(probes, observed, strict=True)]


def test_every_mixture_has_a_probe_that_visits_every_expert_twice(
    model: tuple[Path, tuple[ExpertProbe, ...]],
) -> None:
    folder, probes = model
    plain = load_plain(folder)
    assert isinstance(plain, GPTMoEForCausalLM)
    assert [probe.layer for probe in probes] == list(LAYERS)
    for probe, mixture in zip(probes, plain.mixtures, strict=True):
        x_TD = probe_inputs(probe.seed, 2048, plain.config.hidden_size)[list(probe.tokens)]
        visits = mixture.gate(x_TD)[2].flatten().bincount(minlength=mixture.gate.num_experts)
        assert visits.min() >= 2
        assert 0.02 <= probe.threshold < 0.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_rounding_is_no_fault(model: tuple[Path, tuple[ExpertProbe, ...]], dtype: torch.dtype) -> None:
    folder, probes = model
    same = errors(probes, replay_probes(folder, probes, dtype=dtype))
    assert max(same) < (1e-3 if dtype == torch.float32 else 0.34)


def test_a_dequantized_model_passes(model: tuple[Path, tuple[ExpertProbe, ...]]) -> None:
    # Its activations are not rounded to int8, and it computes in bf16: what a materialized copy does.
    folder, probes = model
    plain = load_plain(folder, dtype=torch.bfloat16)
    width = plain.config.hidden_size
    observed = [
        run_probe(plain.model.layers[p.layer].mlp, p.seed, p.tokens, hidden_size=width, dtype=torch.bfloat16)
        for p in probes
    ]
    assert max(errors(probes, observed)) < 0.5


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_seen_in_every_mixture(
    model: tuple[Path, tuple[ExpertProbe, ...]], fault: str, tmp_path: Path
) -> None:
    folder, probes = model
    faulty = plant(FAULTS[fault], folder, tmp_path / "faulty", LAYERS)
    for dtype in (torch.float32, torch.bfloat16):
        assert min(errors(probes, replay_probes(faulty, probes, dtype=dtype))) > 2


def test_a_fault_in_one_layer_shows_in_no_other(model: tuple[Path, tuple[ExpertProbe, ...]], tmp_path: Path) -> None:
    folder, probes = model
    faulty = plant(FAULTS["experts"], folder, tmp_path / "faulty", [3])
    first, second = errors(probes, replay_probes(faulty, probes))
    assert first < 1e-3
    assert second > 2


def test_probes_are_the_same_every_time(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "tiny")
    assert make_probes(folder) == make_probes(folder)


def test_a_dense_model_has_none(llama_folder: Path) -> None:
    assert make_probes(llama_folder) == ()


def test_a_router_without_preferences_has_none(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "tiny")

    def level(tensors: dict[str, torch.Tensor], layer: int) -> dict[str, torch.Tensor]:
        name = f"model.layers.{layer}.mlp.gate."
        return {f"{name}{kind}": torch.zeros_like(tensors[f"{name}{kind}"]) for kind in ("weight", "bias")}

    assert [probe.layer for probe in make_probes(plant(level, folder, tmp_path / "level", [1]))] == [3]


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 80))
def test_inputs_are_exact_in_half_precision(seed: int, count: int, width: int) -> None:
    x_TD = probe_inputs(seed, count, width)
    assert x_TD.shape == (count, width)
    assert torch.equal(x_TD, probe_inputs(seed, count, width))
    for dtype in (torch.bfloat16, torch.float16):
        assert torch.equal(x_TD.to(dtype).float(), x_TD)


def test_inputs_have_four_sizes() -> None:
    sizes = probe_inputs(5, 8, 4096).square().mean(dim=-1).sqrt()
    assert sizes.tolist() == pytest.approx([1, 2, 4, 8, 1, 2, 4, 8], rel=0.05)


def test_the_first_inputs_are_these() -> None:
    # Stored canaries depend on them: a change makes every artifact fail.
    assert (probe_inputs(1, 2, 3) * 64).tolist() == FIRST_INPUTS
    assert (probe_projection(4)[0] * 2).tolist() == FIRST_SIGNS


def test_projections_keep_sizes() -> None:
    y_TD = torch.randn(200, 512, generator=torch.Generator().manual_seed(1))
    projected = (y_TD @ probe_projection(512)).square().mean().sqrt()
    assert projected.item() == pytest.approx(1, rel=0.1)
