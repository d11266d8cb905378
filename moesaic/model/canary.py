"""Canaries: fixed token sequences with the log-probabilities that an artifact must give, whoever serves it.

- Computed from the plain form of the artifact itself, in fp32, with int8 activations emulated where it has them. The
  weights are read layer by layer, so that a canary costs one layer and the embeddings of memory, not the model.
- Compared by the mean |Δ log-probability| at every load. Digests prove that the files are right; only this proves that
  the engine computes with them: experts in a wrong order pass every checksum.

Shapes: B sequences, S tokens each, D model, V vocabulary.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.masking_utils import create_causal_mask

from moesaic.artifact import Canary, ModelArtifact
from moesaic.errors import TokenizerError
from moesaic.model.checkpoint import layer_tensors, open_weights
from moesaic.model.emulation import emulate_int8_activations, int8_activation_matrices, quantized_matrices
from moesaic.model.probes import make_probes
from moesaic.model.shards import ShardReader, TensorSource

__all__ = [
    "CANARY_TEXTS",
    "canary_sequences",
    "canary_threshold",
    "make_canary",
    "mean_difference",
    "replay_plain",
    "served_logprobs",
    "teacher_forced_logprobs",
]

CANARY_TEXTS = (
    "A bridge carries more than its own weight. The engineer who designs it must know the heaviest lorry, the "
    "strongest wind and the oldest bolt, and then add a margin for everything that nobody thought of.",
    "def running_mean(values):\n    total, means = 0.0, []\n    for count, value in enumerate(values, start=1):\n"
    "        total += value\n        means.append(total / count)\n    return means\n",
    "The tenant shall return the premises in the condition in which they were received, fair wear and tear excepted, "
    "and shall give notice in writing not less than sixty days before the term ends.",
    "Question: a shop sells pens at 3 for 2 euros. What do 12 pens cost? Answer: 12 pens are 4 groups of 3, and each "
    "group costs 2 euros, so they cost 8 euros in total.",
    "春天来了，河边的柳树发出了新芽。孩子们放下书包，跑到草地上放风筝，老人坐在长椅上晒太阳，慢慢地聊着去年的收成。",
    "合同双方应当按照约定全面履行自己的义务。当事人一方不履行合同义务的，应当承担继续履行、采取补救措施或者赔偿损失等责任。",
    "Patients with a history of liver disease should begin with half of the usual dose, and their blood should be "
    "tested after two weeks of treatment before the dose is raised.",
    "SELECT customer, SUM(amount) AS total FROM orders WHERE placed >= '2024-01-01' GROUP BY customer "
    "HAVING SUM(amount) > 1000 ORDER BY total DESC LIMIT 10;",
)
"""Prose, code, law, arithmetic, medicine and SQL in English, prose and law in Chinese: written for this purpose."""

_TOKENS = 48
_LARGEST_NOISE = 1.5


def canary_sequences(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> tuple[tuple[int, ...], ...]:
    """The canary texts as token sequences of equal length, so that they run as one batch."""
    sequences = []
    for text in CANARY_TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if not ids or max(ids) >= vocab_size:
            raise TokenizerError(
                f"the tokenizer gives {'no token' if not ids else f'token {max(ids)}'} for {text[:30]!r}, but the "
                f"model knows tokens 0 to {vocab_size - 1}: the tokenizer belongs to another model"
            )
        sequences.append(tuple((ids * (_TOKENS // len(ids) + 1))[:_TOKENS]))
    return tuple(sequences)


def canary_threshold(dtype: str, noise: float | None = None) -> float:
    """Largest mean |Δ log-probability| (nats) that an engine computing in `dtype` may show.

    `noise` is what rounding alone costs this model (see `make_canary`); without it, the most that we ever measured.
    Chosen by the measurements of docs/decisions/0003-canary.md.
    """
    if dtype == "float32":
        return 0.005
    return _LARGEST_NOISE if noise is None else max(0.05, 1.5 * noise)


def make_canary(folder: Path, sequences: Iterable[Sequence[int]], *, dtype: str) -> Canary:
    """Canary of the model in `folder` (configuration and weights; plain or quantized), to be served in `dtype`.

    How much rounding may cost differs from model to model (int8 activations amplify it), so it is measured: the plain
    form runs once more with every intermediate result in bf16, and the threshold is 1.5 times the difference; a
    quantized model also runs with the other treatment of activations, as its bf16 copy or other kernels have it.
    A GPT-MoE's canary has expert probes as well (see `moesaic.model.probes`).
    """
    fixed = tuple(tuple(sequence) for sequence in sequences)
    config, source, quantized, rounded = _open(folder)
    logprobs = teacher_forced_logprobs(source, config, fixed, int8_inputs=rounded)
    threshold = canary_threshold(dtype)
    if quantized or dtype != "float32":
        # Kernels for other machines round activations where these do not, and the other way round.
        variants = {rounded, quantized - rounded} if quantized else {rounded}
        coarse = (
            teacher_forced_logprobs(source, config, fixed, int8_inputs=inputs, dtype=torch.bfloat16)
            for inputs in variants
        )
        threshold = canary_threshold("bfloat16", max(mean_difference(logprobs, other) for other in coarse))
    return Canary(
        sequences=fixed,
        logprobs=tuple(tuple(row) for row in logprobs),
        threshold=threshold,
        computed_with="PyTorch fp32, int8 activations emulated" if rounded else "PyTorch fp32",
        probes=make_probes(folder),
    )


def mean_difference(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> float:
    """Mean |Δ| over all positions of two sets of log-probabilities of one shape."""
    pairs = [pair for row_a, row_b in zip(a, b, strict=True) for pair in zip(row_a, row_b, strict=True)]
    return sum(abs(x - y) for x, y in pairs) / len(pairs)


def replay_plain(artifact: ModelArtifact) -> list[list[float]]:
    """The canary's log-probabilities, computed anew from the weights in plain PyTorch."""
    assert artifact.manifest.canary is not None
    config, source, _, rounded = _open(artifact.folder)
    return teacher_forced_logprobs(source, config, artifact.manifest.canary.sequences, int8_inputs=rounded)


def served_logprobs(folder: Path, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
    """Log-probabilities of any sequences as an engine that serves the folder gives them: weights and inputs rounded.

    Nats; each row lacks the first position. In plain PyTorch and fp32, one layer in memory at a time.
    """
    config, source, _, rounded = _open(folder)
    return teacher_forced_logprobs(source, config, sequences, int8_inputs=rounded)


def _open(folder: Path) -> tuple[PreTrainedConfig, TensorSource, frozenset[str], frozenset[str]]:
    """Configuration, plain weights, quantized matrices, and those of them whose inputs are rounded to int8."""
    config = AutoConfig.from_pretrained(folder)
    quantization = getattr(config, "quantization_config", None)
    source = open_weights(folder, {"quantization_config": quantization}, torch.float32)
    names = ShardReader(folder).names
    rounded = int8_activation_matrices(names, quantization)
    return config, source, quantized_matrices(names), rounded


@torch.inference_mode()
def teacher_forced_logprobs(
    source: TensorSource,
    config: PreTrainedConfig,
    sequences: Sequence[Sequence[int]],
    *,
    int8_inputs: frozenset[str] = frozenset(),
    dtype: torch.dtype = torch.float32,
) -> list[list[float]]:
    """Log p(token j+1 | tokens 0..j) in nats for every position of every sequence, one layer at a time.

    `int8_inputs` names the matrices whose inputs are rounded as the serving kernels do; `dtype` is what the layers
    compute in. Sequences of one length run together.
    """
    skeleton = _skeleton(config)
    embedding = source.read("model.embed_tokens.weight").to(dtype)
    states = [embedding[torch.tensor([list(sequence)])] for sequence in sequences]
    if len({state.shape[1] for state in states}) == 1:
        states = [torch.cat(states)]
    for index, layer in enumerate(skeleton.model.layers):
        _load(layer, ((name, t) for name, t in layer_tensors(source, config, index)), f"model.layers.{index}.", dtype)
        emulate_int8_activations(layer, index, int8_inputs)
        states = [_run(layer, state, config, skeleton) for state in states]
        layer.to("meta")
    head = embedding if config.tie_word_embeddings else source.read("lm_head.weight").to(dtype)
    _load(skeleton.model.norm, [("weight", source.read("model.norm.weight"))], "", dtype)
    hidden = [row for state in states for row in skeleton.model.norm(state)]
    return [_logprobs(h_SD, sequence, head) for h_SD, sequence in zip(hidden, sequences, strict=True)]


def _skeleton(config: PreTrainedConfig) -> Any:
    """The model without weights; only the rotary frequencies, which are computed and not loaded, are real."""
    config = type(config).from_dict(config.to_dict())
    config._attn_implementation = "sdpa"
    config._experts_implementation = "eager"
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.eval()


def _load(module: nn.Module, tensors: Iterable[tuple[str, torch.Tensor]], prefix: str, dtype: torch.dtype) -> None:
    state = {name.removeprefix(prefix): tensor.to(dtype) for name, tensor in tensors}
    module.load_state_dict(state, strict=True, assign=True)


def _run(layer: nn.Module, h_BSD: torch.Tensor, config: PreTrainedConfig, skeleton: Any) -> torch.Tensor:
    """One decoder layer over whole sequences."""
    positions = torch.arange(h_BSD.shape[1]).unsqueeze(0)
    mask = create_causal_mask(
        config=skeleton.config, inputs_embeds=h_BSD, attention_mask=None, past_key_values=None, position_ids=positions
    )
    out = layer(h_BSD, attention_mask=mask, position_embeddings=skeleton.model.rotary_emb(h_BSD, positions))
    return out[0] if isinstance(out, tuple) else out


def _logprobs(h_SD: torch.Tensor, sequence: Sequence[int], head_VD: torch.Tensor) -> list[float]:
    logp_SV = torch.log_softmax(F.linear(h_SD[:-1], head_VD).float(), dim=-1)
    return logp_SV.gather(-1, torch.tensor(sequence[1:]).unsqueeze(-1)).squeeze(-1).tolist()
