"""Expert probes: fixed inputs through one mixture layer at a time, and what must come out.

The log-probabilities of a whole model cannot show a single wrong expert where activations are int8: rounding noise
grows through the layers until it hides it (docs/decisions/0003-canary.md). One layer alone is precise.

- Inputs come from a seed. They are small whole numbers times a power of two, so that bf16 and fp16 hold them exactly
  and every machine draws the same ones. Their size varies: what the layer norm gives, and larger ones, for which
  router and coefficients are decided.
- Tokens are chosen so that every expert is visited, its choice is clear of rounding, and neither branch hides the
  other.
- Of each output only a few random projections are kept: their relative error is that of the output, for our purpose.

Shapes: T tokens, D model, E routed experts of the layer, P projections.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig

from moesaic.artifact import ExpertProbe
from moesaic.model.checkpoint import layer_tensors, open_weights
from moesaic.model.config import GPTMoEConfig
from moesaic.model.emulation import emulate_int8_activations, int8_activation_matrices, quantized_matrices
from moesaic.model.mixture import ResidualMixture
from moesaic.model.shards import ShardReader

__all__ = ["make_probes", "probe_inputs", "probe_projection", "replay_probes", "run_probe"]

_ROWS = 2048  # of each batch; tokens are chosen among them
_PIECE = 16  # tokens that pass a layer at once: fewer than any engine's batch
_PROJECTIONS = 8
_PROJECTION_SEED = 271828
_LARGEST = 110  # uniform whole numbers up to it, divided by 64, have a root mean square of 1
_SIZES = (1.0, 2.0, 4.0, 8.0)  # of successive rows
_TOKENS = 8  # at least, in each layer
_VISITS = 2  # at least, of each expert
_CLEAR_MARGIN = 0.05  # of the router's logits, in their standard deviations; bf16 would cost 0.004
_ROUTED_SHARE = 0.75  # the expert weighs most, and exchanged coefficients still differ by half
_SMALLEST_THRESHOLD = 0.02
_ROOM = 3.0  # threshold over what rounding costs


def probe_inputs(seed: int, count: int, hidden_size: int) -> torch.Tensor:
    """Input batch [T, D] fp32, T = `count`, of root mean square 1, 2, 4 and 8 in turn; exact in bf16 and fp16."""
    generator = torch.Generator().manual_seed(seed)
    x_TD = torch.randint(-_LARGEST, _LARGEST + 1, (count, hidden_size), generator=generator).float() / 64
    return x_TD * torch.tensor(_SIZES).repeat(-(-count // len(_SIZES)))[:count, None]


def probe_projection(hidden_size: int) -> torch.Tensor:
    """Random signs [D, P] fp32, scaled so that projections are of the size of what they project."""
    generator = torch.Generator().manual_seed(_PROJECTION_SEED)
    signs_DP = torch.randint(0, 2, (hidden_size, _PROJECTIONS), generator=generator) * 2 - 1
    return signs_DP.float() / hidden_size**0.5


@torch.inference_mode()
def run_probe(
    mixture: nn.Module,
    seed: int,
    tokens: Sequence[int],
    *,
    hidden_size: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> list[list[float]]:
    """Projections [T][P] of what a mixture layer gives for the chosen rows of a batch.

    Args:
        mixture: the layer, ours or an engine's; it maps [T, D] to [T, D].
        seed: seed of the batch.
        tokens: rows of it.
        hidden_size: D.
        dtype: type that the layer computes in.
        device: where it does.
    """
    x_TD = probe_inputs(seed, _ROWS, hidden_size)[list(tokens)]
    pieces = x_TD.to(device=device, dtype=dtype).split(_PIECE)
    y_TD = torch.cat([mixture(piece) for piece in pieces]).float().cpu()
    return (y_TD @ probe_projection(hidden_size)).tolist()


def make_probes(folder: Path) -> tuple[ExpertProbe, ...]:
    """One probe for each mixture layer of the model in `folder`, none for a dense one; reads a layer at a time.

    A threshold leaves three times the room that correct engines need: the layer is computed again with every result
    in bf16, and, where weights are quantized, with and without rounding activations to int8 (kernels do either).
    A layer whose router prefers no expert clearly, for any input, has no probe.
    """
    probes = (_probe(mixture) for mixture in _mixtures(folder))
    return tuple(probe for probe in probes if probe is not None)


def replay_probes(
    folder: Path, probes: Sequence[ExpertProbe], *, dtype: torch.dtype = torch.float32
) -> list[list[list[float]]]:
    """What the model in `folder` gives for the probes, computed in plain PyTorch from the weights as they lie there."""
    by_layer = {probe.layer: probe for probe in probes}
    observed = {
        mixture.layer: _observe(mixture, by_layer[mixture.layer].seed, by_layer[mixture.layer].tokens, dtype)
        for mixture in _mixtures(folder, by_layer)
    }
    return [observed[probe.layer] for probe in probes]


class _Mixture(NamedTuple):
    """One mixture layer as it lies on disk, dequantized."""

    layer: int
    config: GPTMoEConfig
    state: dict[str, torch.Tensor]
    int8_inputs: frozenset[str]  # matrices whose inputs the kernels for this scheme round
    other_inputs: frozenset[str]  # what kernels for other machines do; the same where nothing is quantized


def _mixtures(folder: Path, layers: Container[int] | None = None) -> Iterator[_Mixture]:
    """The mixture layers, or those of them that are in `layers`, one after the other."""
    config = AutoConfig.from_pretrained(folder)
    if not isinstance(config, GPTMoEConfig):
        return

    config._experts_implementation = "eager"
    quantization = getattr(config, "quantization_config", None)
    source = open_weights(folder, {"quantization_config": quantization}, torch.float32)
    names = ShardReader(folder).names
    int8_inputs = int8_activation_matrices(names, quantization)
    quantized = quantized_matrices(names)
    for layer in config.moe_layers:
        if layers is not None and layer not in layers:
            continue
        prefix = f"model.layers.{layer}."
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in layer_tensors(source, config, layer)
            if name.startswith(f"{prefix}mlp.")
        }
        yield _Mixture(layer, config, state, int8_inputs, quantized - int8_inputs)


def _build(mixture: _Mixture, dtype: torch.dtype, int8_inputs: frozenset[str]) -> ResidualMixture:
    """The layer as a module; router and coefficients stay in fp32, as in every engine."""
    assert mixture.config.num_experts_per_layer is not None
    with torch.device("meta"):
        module = ResidualMixture(mixture.config, mixture.config.num_experts_per_layer[mixture.layer])
    exact = ("mlp.gate.", "mlp.coefficients.")
    state = {name: t.float() if name.startswith(exact) else t.to(dtype) for name, t in mixture.state.items()}
    holder = nn.ModuleDict({"mlp": module})  # the names of a decoder layer
    holder.load_state_dict(state, strict=True, assign=True)
    emulate_int8_activations(holder, mixture.layer, int8_inputs)
    return module.eval()


def _observe(
    mixture: _Mixture,
    seed: int,
    tokens: Sequence[int],
    dtype: torch.dtype = torch.float32,
    int8_inputs: frozenset[str] | None = None,
) -> list[list[float]]:
    module = _build(mixture, dtype, mixture.int8_inputs if int8_inputs is None else int8_inputs)
    return run_probe(module, seed, tokens, hidden_size=mixture.config.hidden_size, dtype=dtype)


def _probe(mixture: _Mixture) -> ExpertProbe | None:
    seed = mixture.layer
    tokens = _choose_tokens(mixture, seed)
    if not tokens:
        return None

    outputs = tuple(tuple(float(f"{value:.7g}") for value in row) for row in _observe(mixture, seed, tokens))
    probe = ExpertProbe(layer=mixture.layer, seed=seed, tokens=tokens, outputs=outputs, threshold=_SMALLEST_THRESHOLD)
    rounded = {mixture.int8_inputs, mixture.other_inputs}
    floor = max(probe.error(_observe(mixture, seed, tokens, torch.bfloat16, inputs)) for inputs in rounded)
    return replace(probe, threshold=max(_SMALLEST_THRESHOLD, _ROOM * floor))


@torch.inference_mode()
def _choose_tokens(mixture: _Mixture, seed: int) -> tuple[int, ...]:
    """Rows in ascending order: for each expert some that choose it clearly and give it about the wanted share."""
    module = _build(mixture, torch.float32, frozenset())
    x_TD = probe_inputs(seed, _ROWS, mixture.config.hidden_size)
    z_TE = F.linear(x_TD, module.gate.weight)
    index_T = module.gate.select(z_TE).squeeze(-1)
    best_TK = (z_TE + module.gate.bias).topk(min(2, module.gate.num_experts), dim=-1).values
    margin_T = best_TK[:, 0] - best_TK[:, 1] if best_TK.shape[1] == 2 else torch.full_like(best_TK[:, 0], torch.inf)
    clear_T = (margin_T > _CLEAR_MARGIN * z_TE.std()) & (margin_T > 0)
    share_T = torch.ones_like(margin_T) if module.coefficients is None else module.coefficients(x_TD)[:, 0]
    order_T = (share_T - _ROUTED_SHARE).abs().argsort(stable=True)
    visits = max(_VISITS, -(-_TOKENS // module.gate.num_experts))
    tokens: list[int] = []
    for expert in range(module.gate.num_experts):
        rows = order_T[(clear_T & (index_T == expert))[order_T]]
        tokens += rows[:visits].tolist()
    return tuple(sorted(tokens))
