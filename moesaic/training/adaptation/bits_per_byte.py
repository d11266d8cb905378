"""Bits per byte of a text: what a model needs to write it down, whatever its tokenizer.

The text is read in overlapping windows. Every token but the first is scored once, with at least `length - stride`
tokens before it where the text has them; what is summed is divided by the bytes of exactly these tokens.

Shapes: B windows, S positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from moesaic.errors import CorpusError, DivergedError, RecipeError

__all__ = ["BitsOptions", "TextBits", "Window", "file_bits", "text_bits", "windows"]


@dataclass(frozen=True, kw_only=True)
class BitsOptions:
    """How a text is read.

    Raises:
        RecipeError: a value is out of its range.
    """

    length: int = 1024
    """Tokens of a window; at most the model's context."""
    stride: int = 768
    """Tokens that a window adds to the one before; the others are context."""
    batch: int = 4
    """Windows of one forward pass."""
    max_tokens: int | None = None
    """Tokens of the text that are read; None for all of them."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        if not 0 < self.stride < self.length:
            raise RecipeError(
                f"length={self.length!r}, stride={self.stride!r}: the stride must be 1 to below the length"
            )
        if self.batch < 1:
            raise RecipeError(f"batch={self.batch!r} must be at least 1")
        if self.max_tokens is not None and self.max_tokens < 2:
            raise RecipeError(f"max_tokens={self.max_tokens!r} must be at least 2")


@dataclass(frozen=True, kw_only=True)
class TextBits:
    """What was measured."""

    nats: float
    """Sum of -log p over the scored tokens."""
    tokens: int
    """Tokens that were scored."""
    text_bytes: int
    """Bytes of the text, in UTF-8, that these tokens stand for."""

    @property
    def bits_per_byte(self) -> float:
        """The figure."""
        return self.nats / math.log(2) / self.text_bytes

    @property
    def perplexity(self) -> float:
        """Per token; only models with one tokenizer compare by it."""
        return math.exp(self.nats / self.tokens)

    def __add__(self, other: "TextBits") -> "TextBits":
        """Both texts together."""
        return TextBits(
            nats=self.nats + other.nats,
            tokens=self.tokens + other.tokens,
            text_bytes=self.text_bytes + other.text_bytes,
        )


class Window(NamedTuple):
    """Tokens `start` to `end`, of which those from `scored` on count."""

    start: int
    scored: int
    end: int


def windows(tokens: int, *, length: int, stride: int) -> list[Window]:
    """Windows that score every token but the first, once."""
    found = [Window(0, 1, min(length, tokens))]
    while found[-1].end < tokens:
        start = found[-1].start + stride
        found.append(Window(start, found[-1].end, min(start + length, tokens)))
    return found


def file_bits(model: Any, tokenizer: Any, path: Path, options: BitsOptions | None = None) -> TextBits:
    """`text_bits` of a file in UTF-8.

    Raises:
        CorpusError: there is no such file, or it is not UTF-8; and what `text_bits` raises.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CorpusError(f"{path} can't be read ({error.strerror}): give a text to measure on") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8 at byte {error.start}: convert it first") from error
    return text_bits(model, tokenizer, text, options)


@torch.inference_mode()
def text_bits(model: Any, tokenizer: Any, text: str, options: BitsOptions | None = None) -> TextBits:
    """Measure a model on a text. The model is evaluated, and goes on as it was.

    Args:
        model: anything whose forward pass takes `input_ids` [B, S] and returns `logits` [B, S, V].
        tokenizer: a fast tokenizer of transformers; no special tokens are added.
        text: what is read.
        options: how.

    Raises:
        CorpusError: the text has fewer than two tokens.
        RecipeError: the windows are longer than the model's context.
        DivergedError: the model's loss is not finite.
    """
    options = options or BitsOptions()
    context = getattr(getattr(model, "config", None), "max_position_embeddings", options.length)
    if options.length > context:
        raise RecipeError(f"length={options.length} is beyond the model's context of {context} tokens: lower it")
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"][: options.max_tokens], encoded["offset_mapping"]
    if len(ids) < 2:
        raise CorpusError(f"a text of {len(ids)} tokens tells nothing: give a longer one")

    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        nats = math.fsum(
            _scored(model, torch.tensor(ids, device=device), group)
            for group in _groups(windows(len(ids), length=options.length, stride=options.stride), options.batch)
        )
    finally:
        model.train(was_training)
    if not math.isfinite(nats):
        raise DivergedError(
            "the loss on the text is not finite: go back to an earlier checkpoint", step=-1, culprit="text loss"
        )
    # A token may be a part of a character: cut where the next whole one begins.
    begin = offsets[1][0] if offsets[1][0] >= offsets[0][1] else offsets[0][0]
    end = offsets[len(ids) - 1][1] if options.max_tokens is not None else len(text)
    return TextBits(nats=nats, tokens=len(ids) - 1, text_bytes=len(text[begin:end].encode()))


def _groups(cut: Sequence[Window], size: int) -> list[list[Window]]:
    """Windows of equal length together."""
    groups: list[list[Window]] = []
    for window in cut:
        last = groups[-1] if groups else []
        if last and len(last) < size and last[0].end - last[0].start == window.end - window.start:
            last.append(window)
        else:
            groups.append([window])
    return groups


def _scored(model: Any, ids: torch.Tensor, group: Sequence[Window]) -> float:
    """Sum of -log p, in nats, over what the windows score."""
    ids_BS = torch.stack([ids[window.start : window.end] for window in group])
    logits_BSV = model(input_ids=ids_BS).logits
    total = 0.0
    for window, logits_SV, ids_S in zip(group, logits_BSV, ids_BS, strict=True):
        first = window.scored - window.start
        total += float(F.cross_entropy(logits_SV[first - 1 : -1].float(), ids_S[first:], reduction="sum").double())
    return total
