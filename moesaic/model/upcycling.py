"""Sparse upcycling: the weights of a GPT-MoE out of a dense checkpoint, one tensor at a time.

- At drop ratio 0 and without noise the result computes the same function as the dense model, whatever the router says:
  every expert and the residual MLP are copies, the gate value is 1 and the branch coefficients are convex
  (sparse upcycling, arXiv:2212.05055; "unit" gate and residual branch are ours).
- Drop-upcycling (arXiv:2502.19261, section 3) re-initialises a share of every expert's inner channels, so that experts
  can learn to differ; the residual branch stays an exact copy and, by a coefficient bias, dominates at first.
- Random numbers depend on the seed, layer and expert alone, never on the order of reading.

Shapes: D model, F inner width of an expert.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from moesaic.errors import InputError, UnsupportedModelError
from moesaic.model.base import DenseBase
from moesaic.model.checkpoint import expert_matrix
from moesaic.model.config import GPTMoEConfig, pyramid
from moesaic.model.dense_config import SUPPORTED_MODELS

__all__ = ["UpcycleOptions", "upcycled_config", "upcycled_tensors"]

_MATRICES = ("gate_proj", "up_proj", "down_proj")
_COPIED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "rope_parameters",
    "tie_word_embeddings",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)


@dataclass(frozen=True, kw_only=True)
class UpcycleOptions:
    """How a dense checkpoint becomes a mixture."""

    experts: int = 4
    """Routed experts of a mixture layer."""
    experts_last: int | None = None
    """Routed experts of the last mixtures (the pyramid's base); twice `experts` when not given."""
    last: int = 2
    """How many mixtures count as the last ones."""
    interval: int = 2
    """Every how many layers a mixture stands."""
    offset: int = 1
    """Index of the first mixture layer, below `interval`."""
    drop_ratio: float = 0.0
    """Share of each expert's inner channels that is re-initialised, 0 to 1."""
    noise: float = 0.0
    """Standard deviation of noise on the experts, as a multiple of each matrix's own standard deviation."""
    router_std: float = 0.02
    """Standard deviation of the fresh router and of the fresh branch coefficients."""
    coefficient_bias: float = 2.0
    """Initial logit of the residual branch minus that of the routed one."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        if not 0.0 <= self.drop_ratio <= 1.0:
            raise InputError(f"drop_ratio={self.drop_ratio!r} must lie between 0 (exact copies) and 1 (fresh experts)")
        for name in ("noise", "router_std"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name)!r} must be a finite number of at least 0")
        if not abs(self.coefficient_bias) <= 20.0:
            raise InputError(f"coefficient_bias={self.coefficient_bias!r} must lie between -20 and 20")
        if self.last < 0:
            raise InputError(f"last={self.last!r} must be at least 0: how many mixtures have experts_last experts")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed={self.seed!r} must lie between 0 and 2**63 - 1")

    @property
    def preserves_function(self) -> bool:
        """Whether the upcycled model computes what the dense one does."""
        return self.drop_ratio == 0.0 and self.noise == 0.0


def upcycled_config(base: dict[str, Any], options: UpcycleOptions) -> GPTMoEConfig:
    """Configuration of the mixture made from a dense model with the configuration `base`."""
    family = base["model_type"]
    if family not in SUPPORTED_MODELS:
        raise UnsupportedModelError(
            f"model_type={family!r} cannot be upcycled: give a dense model of one of {', '.join(SUPPORTED_MODELS)}"
        )
    biased = bool(base.get("attention_bias", family == "qwen2"))
    return GPTMoEConfig(
        **{name: base[name] for name in _COPIED if base.get(name) is not None},
        mlp_bias=bool(base.get("mlp_bias", False)),
        attention_bias=biased,
        attention_output_bias=biased and family != "qwen2",
        qk_norm=family == "qwen3",
        num_experts_per_layer=pyramid(
            base["num_hidden_layers"],
            options.experts,
            options.experts_last,
            interval=options.interval,
            offset=options.offset,
            last=options.last,
        ),
        moe_residual_coef_bias_init=options.coefficient_bias,
        router_gate_mode="unit",
        architectures=["GPTMoEForCausalLM"],
        dtype=base.get("dtype", "bfloat16"),
    )


def upcycled_tensors(
    base: DenseBase, config: GPTMoEConfig, options: UpcycleOptions, dtype: torch.dtype
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and tensor of the mixture on disk; the dense matrices are read once each, and one at a time."""
    mixtures = {f"model.layers.{layer}.mlp.{m}.weight": (layer, m) for layer in config.moe_layers for m in _MATRICES}
    for name in base.names:
        if name in mixtures:
            layer, matrix = mixtures[name]
            yield from _expert_copies(base.read(name), layer, matrix, config.expert_counts[layer], options, dtype)
        elif not (name == "lm_head.weight" and config.tie_word_embeddings):
            yield name, base.read(name).to(dtype)
    for layer in config.moe_layers:
        yield from _gate(config, layer, config.expert_counts[layer], options)


def _expert_copies(
    weight: torch.Tensor, layer: int, matrix: str, experts: int, options: UpcycleOptions, dtype: torch.dtype
) -> Iterator[tuple[str, torch.Tensor]]:
    """One dense matrix as that of every expert, and unchanged as that of the residual slot."""
    for expert in range(experts):
        copy = weight
        if not options.preserves_function:
            copy = _diversified(weight.float().clone(), layer, expert, matrix, options)
        yield expert_matrix(layer, expert, matrix), copy.to(dtype)
    yield expert_matrix(layer, experts, matrix), weight.to(dtype)


def _diversified(weight: torch.Tensor, layer: int, expert: int, matrix: str, options: UpcycleOptions) -> torch.Tensor:
    """Re-initialise the dropped inner channels of one expert matrix and add noise, in place."""
    channels_first = weight if matrix != "down_proj" else weight.T  # [F, D]: inner channels are rows, a view of weight
    chooser = _generator(options.seed, layer, expert, "channels")  # the same channels in all three matrices
    dropped = torch.randperm(channels_first.shape[0], generator=chooser)
    dropped = dropped[: int(options.drop_ratio * channels_first.shape[0])]
    random = _generator(options.seed, layer, expert, matrix)
    if options.noise:
        scale = options.noise * float(weight.std())
        channels_first += scale * torch.randn(channels_first.shape, generator=random)
    if len(dropped):
        old = channels_first[dropped]
        channels_first[dropped] = old.mean() + old.std() * torch.randn(old.shape, generator=random)
    return weight


def _gate(
    config: GPTMoEConfig, layer: int, experts: int, options: UpcycleOptions
) -> Iterator[tuple[str, torch.Tensor]]:
    """A random router without balancing bias, and random coefficients around the given bias."""
    rows = torch.randn(experts + 2, config.hidden_size, generator=_generator(options.seed, layer, 0, "router"))
    weight = options.router_std * rows
    bias = torch.zeros(experts + 2)
    bias[-1] = options.coefficient_bias
    yield f"model.layers.{layer}.mlp.gate.weight", weight
    yield f"model.layers.{layer}.mlp.gate.bias", bias


def _generator(seed: int, layer: int, expert: int, purpose: str) -> torch.Generator:
    """A random stream of its own for every place."""
    stream = ("channels", "router", *_MATRICES).index(purpose)
    mixed = seed
    for part in (layer, expert, stream):
        # Multiplication by an odd constant spreads neighbouring places over the whole range of seeds.
        mixed = (mixed * 6364136223846793005 + part + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(mixed)
