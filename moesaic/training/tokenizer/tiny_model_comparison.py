"""Compare tokenizers by what a tiny model learns with them: bits per byte of held-out text after equal bytes.

- All models see the same bytes in the same order, so many per step, whatever number of tokens these make: a tokenizer
  that packs more into a token gives its model fewer tokens to learn from and to compute.
- The bodies are equal and begin from one seed; embeddings have as many rows as the vocabulary needs. What a larger
  vocabulary costs is therefore reported beside the figure: parameters, tokens and seconds.

Shapes: B rows, S positions.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from moesaic.errors import CorpusError, RecipeError, TokenizerError
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.config import GPTMoEConfig
from moesaic.training.batch import Batch
from moesaic.training.evaluation import HeldOut
from moesaic.training.model_runner import ModelRunner
from moesaic.training.optimizers import OptimizerConfig, built_optimizers
from moesaic.training.presets import preset_fields
from moesaic.training.processes import Processes
from moesaic.training.run_folder import RunFolder
from moesaic.training.run_options import BatchConfig, DistributedConfig, PrecisionConfig, RunConfig
from moesaic.training.schedule import ScheduleConfig
from moesaic.training.spike_guard import GuardConfig, SpikeGuard
from moesaic.training.trainer import Trainer, TrainerOptions

__all__ = ["TinyComparisonConfig", "TinyResult", "byte_windows", "compare_tiny_models"]

_ROW_MULTIPLE = 64
_MICRO_ROWS = 8


@dataclass(frozen=True, kw_only=True)
class TinyComparisonConfig:
    """How long and how large the tiny models are trained."""

    steps: int = 200
    """Optimizer steps."""

    bytes_per_step: int = 16_384
    """UTF-8 bytes of training text that every model sees in a step."""

    sequence_length: int = 256
    """Tokens of a row."""

    preset: str = "tiny-dense"
    """Body of the models, from `moesaic.training.presets`; one without mixtures."""

    learning_rate: float = 2e-3
    """Peak of AdamW's learning rate."""

    held_out_bytes: int = 100_000
    """Bytes of each held-out set that are used."""

    seed: int = 0
    """Seed of weights and of the order of the texts."""

    def __post_init__(self) -> None:
        """Refuse sizes out of range, and presets with mixtures (`RecipeError`)."""
        for name, least in (("steps", 1), ("bytes_per_step", 64), ("sequence_length", 8), ("held_out_bytes", 1)):
            if getattr(self, name) < least:
                raise RecipeError(f"{name}={getattr(self, name)!r} must be at least {least}")
        if any(preset_fields(self.preset)["num_experts_per_layer"]):
            raise RecipeError(f"preset={self.preset!r} has mixtures of experts: choose a dense one, such as tiny-dense")


@dataclass(frozen=True, kw_only=True)
class TinyResult:
    """What a tokenizer's model came to."""

    bits_per_byte: dict[str, float]
    """Of each held-out set, by its name."""
    parameters: int
    tokens: int
    """Tokens that it was trained on; all models saw the same bytes."""
    seconds: float


def compare_tiny_models(
    tokenizers: Mapping[str, PreTrainedTokenizerFast],
    texts: Sequence[str],
    held_out: Mapping[str, Sequence[str]],
    config: TinyComparisonConfig | None = None,
) -> dict[str, TinyResult]:
    """Train a model with every tokenizer on `texts`, and measure it on the held-out sets.

    Raises:
        CorpusError: there are no texts.
        TokenizerError: a tokenizer has no end-of-text token.
    """
    config = config or TinyComparisonConfig()
    return {name: _result(tokenizer, texts, held_out, config) for name, tokenizer in tokenizers.items()}


def byte_windows(texts: Sequence[str], size: int, seed: int) -> Iterator[list[str]]:
    """Endless windows of texts that make `size` bytes each, less at most three, in an order that the seed gives.

    A text that a window ends within goes on in the next one. Raises `CorpusError` if all texts are empty.
    """
    random, order = Random(seed), [text.encode("utf-8", "replace").decode() for text in texts if text]
    if not order:
        raise CorpusError("there is no text to train the tiny models on: give files with some text")
    window, room = list[str](), size
    while True:
        random.shuffle(order)
        for text in order:
            rest = text.encode()
            while rest:
                piece = rest[:room].decode(errors="ignore")
                rest, room = rest[len(piece.encode()) :], room - len(piece.encode())
                if piece:
                    window.append(piece)
                if room < 4:
                    yield window
                    window, room = [], size


class _Windows:
    """A `BatchSource` of windows with equal bytes, as rows of tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], config: TinyComparisonConfig) -> None:
        self._tokenizer, self._config, self._texts = tokenizer, config, texts
        self._windows = byte_windows(texts, config.bytes_per_step, config.seed)
        self._taken = self.tokens = 0

    def next(self) -> Batch:
        """The rows of the next window; the last one ends in padding."""
        self._taken += 1
        end, length = self._tokenizer.eos_token_id, self._config.sequence_length
        ids: list[int] = []
        documents: list[int] = []
        for number, text in enumerate(next(self._windows)):
            encoded = [end, *self._tokenizer.encode(text, add_special_tokens=False)]
            ids += encoded
            documents += [number] * len(encoded)
        self.tokens += len(ids)
        padding = -len(ids) % length
        ids_BS = torch.tensor(ids + [end] * padding).reshape(-1, length)
        documents_BS = torch.tensor(documents + [-1] * padding).reshape(-1, length)
        return Batch(input_ids_BS=ids_BS, labels_BS=ids_BS, documents_BS=documents_BS)

    def state(self) -> dict[str, Any]:
        """How many windows were taken."""
        return {"taken": self._taken}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take as many windows again."""
        self.__init__(self._tokenizer, self._texts, self._config)  # type: ignore[misc]
        while self._taken < state["taken"]:
            self.next()


def _result(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    held_out: Mapping[str, Sequence[str]],
    config: TinyComparisonConfig,
) -> TinyResult:
    if tokenizer.eos_token_id is None:
        raise TokenizerError("the tokenizer has no end-of-text token (eos_token), which texts begin after")
    began = time.perf_counter()
    highest = max(tokenizer.get_vocab().values())
    rows = -(-(highest + 1) // _ROW_MULTIPLE) * _ROW_MULTIPLE
    torch.manual_seed(config.seed)
    fields = preset_fields(config.preset) | {"vocab_size": rows, "max_position_embeddings": config.sequence_length}
    model = GPTMoEForCausalLM(GPTMoEConfig(**fields, bos_token_id=None, eos_token_id=tokenizer.eos_token_id))
    source = _Windows(tokenizer, texts, config)
    sets = {
        name: HeldOut.of(chosen, tokenizer, length=config.sequence_length, max_bytes=config.held_out_bytes)
        for name, chosen in held_out.items()
    }
    with tempfile.TemporaryDirectory(prefix="moesaic-tokenizers-") as scratch:
        folder = RunFolder(Path(scratch) / "run")
        with folder.locked():
            figures = _trained(model, source, sets, folder, config)
    return TinyResult(
        bits_per_byte={name: figures[f"{name}.bits_per_byte"] for name in sets},
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        tokens=source.tokens,
        seconds=round(time.perf_counter() - began, 2),
    )


def _trained(
    model: GPTMoEForCausalLM,
    source: _Windows,
    sets: Mapping[str, HeldOut],
    folder: RunFolder,
    config: TinyComparisonConfig,
) -> dict[str, float]:
    """Train, and return the figures of the evaluation at the end."""
    folder.begin({})
    run = RunConfig(
        folder=folder.path, steps=config.steps, seed=config.seed, checkpoint_every=config.steps, keep_checkpoints=1
    )
    trainer = Trainer(
        runner=ModelRunner(model, Processes(), PrecisionConfig(), DistributedConfig()),
        optimizers=built_optimizers(model, OptimizerConfig(learning_rate=config.learning_rate)),
        source=source,
        folder=folder,
        options=TrainerOptions(
            run=run,
            # A window is one unit, of as many rows as its tokens fill.
            batch=BatchConfig(rows=1, micro_rows=_MICRO_ROWS, sequence_length=config.sequence_length),
            schedule=ScheduleConfig(warmup_share=0.05),
        ),
        objective=None,
        guard=SpikeGuard(GuardConfig()),
        held_out=sets,
    )
    return trainer.train()
