"""Held-out loss: bits per byte of texts that the run does not train on, and the table that asks for it.

Bits per byte = total -log2 p of all tokens / bytes of the texts in UTF-8. It compares models with different tokenizers,
where the loss per token does not.

Every token of a text is predicted once: a text begins with the end-of-text token as its context, and one that is longer
than a row goes on in the next row with the last token of the former as its only context.

Shapes: B rows, S positions.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerFast

from moesaic.errors import CorpusError, RecipeError, TokenizerError
from moesaic.training.batch import IGNORED, Batch
from moesaic.training.data.shard_reader import ShardReader
from moesaic.training.document_view import document_view
from moesaic.training.text_source import TextConfig, read_documents
from moesaic.training.token_loss import summed_loss
from moesaic.training.training_step import ForwardModel

__all__ = ["EvaluationConfig", "HeldOut", "HeldOutLoss", "held_out_rows", "held_out_sets"]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The `[evaluation]` table of a recipe."""

    sets: dict[str, str] = field(default_factory=dict)
    """Held-out text by name: a file, or a folder of .txt and .md files."""
    every: int = 0
    """Steps between evaluations; 0 evaluates at the end only."""
    rows: int = 8
    """Rows of one forward pass."""
    max_bytes: int = 200_000
    """Bytes of each set that are used, from its beginning."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.every < 0 or self.rows < 1 or self.max_bytes < 1:
            raise RecipeError(
                f"every={self.every!r} must be at least 0, rows={self.rows!r} and max_bytes={self.max_bytes!r} at "
                "least 1"
            )


class HeldOutLoss(NamedTuple):
    """Loss on a held-out set."""

    bits_per_byte: float
    loss: float
    """Mean per token, nats."""
    tokens: int
    text_bytes: int


class HeldOut:
    """A held-out set, tokenized into rows."""

    def __init__(self, rows: Sequence[Sequence[int]], text_bytes: int, pad: int) -> None:
        if not rows or text_bytes < 1:
            raise CorpusError("a held-out set holds no text: give it some, or leave it out")
        # Rows of like length side by side, so that little is padding.
        self._rows = sorted(rows, key=len)
        self.text_bytes = text_bytes
        self._pad = pad

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, *, length: int, max_bytes: int) -> "HeldOut":
        """Tokenize texts up to `max_bytes` bytes of UTF-8; `TokenizerError` without an end-of-text token."""
        rows, text_bytes = held_out_rows(texts, tokenizer, length=length, max_bytes=max_bytes)
        return cls(rows, text_bytes, int(tokenizer.eos_token_id or 0))

    @classmethod
    def of_shards(cls, reader: ShardReader, length: int) -> "HeldOut":
        """Held-out shards, whose documents end with the end-of-text token; it also begins them here."""
        eos = reader.index.eos_token_id
        rows = [row for ids in reader for row in _windows([eos, *ids[:-1].tolist()], length)]
        return cls(rows, reader.index.text_bytes, eos)

    @torch.no_grad()
    def loss(self, runner: ForwardModel, rows: int) -> HeldOutLoss:
        """Evaluate a model in evaluation mode; each process takes its share of the rows."""
        model: Any = runner.model
        was_training = model.training
        model.eval()
        total, tokens = 0.0, 0
        batches = [self._rows[start : start + rows] for start in range(0, len(self._rows), rows)]
        # All processes run equally many forward passes: wrappers exchange weights in each.
        rounds = -(-len(batches) // runner.processes.size)
        for turn in range(rounds):
            place = turn * runner.processes.size + runner.processes.rank
            batch = self._batch(batches[min(place, len(batches) - 1)])
            view = document_view(batch)
            outputs = runner.forward(input_ids=batch.input_ids_BS, position_ids=view.positions_BS)
            if place < len(batches):
                total += float(summed_loss(outputs.logits, view.targets_BS))
                tokens += int((view.targets_BS != IGNORED).sum())
        model.train(was_training)
        nats, count = runner.processes.summed(torch.tensor([total, tokens], dtype=torch.float64)).tolist()
        return HeldOutLoss(nats / math.log(2) / self.text_bytes, nats / count, int(count), self.text_bytes)

    def _batch(self, rows: Sequence[Sequence[int]]) -> Batch:
        width = max(map(len, rows))
        ids_BS = torch.full((len(rows), width), self._pad)
        documents_BS = torch.full((len(rows), width), -1)
        for number, row in enumerate(rows):
            ids_BS[number, : len(row)] = torch.tensor(row)
            documents_BS[number, : len(row)] = 0
        return Batch(input_ids_BS=ids_BS, labels_BS=ids_BS, documents_BS=documents_BS)


def held_out_rows(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, *, length: int, max_bytes: int
) -> tuple[list[list[int]], int]:
    """Rows of at most `length` tokens of texts up to `max_bytes` bytes of UTF-8, and how many bytes these are.

    Raises:
        TokenizerError: there is no end-of-text token, which held-out texts begin after.
    """
    eos = tokenizer.eos_token_id
    if eos is None:
        raise TokenizerError("the tokenizer has no end-of-text token (eos_token), which held-out texts begin after")
    chosen = list(_cut(texts, max_bytes))
    documents = tokenizer(chosen, add_special_tokens=False, verbose=False)["input_ids"] if chosen else []
    rows = [row for ids in documents for row in _windows([eos, *ids], length)]
    return rows, sum(len(text.encode()) for text in chosen)


def held_out_sets(config: EvaluationConfig, tokenizer: PreTrainedTokenizerFast, length: int) -> dict[str, HeldOut]:
    """The held-out sets of a recipe, by name; errors as of `read_documents`."""
    return {
        name: HeldOut.of(
            read_documents(TextConfig(paths=(Path(path),))), tokenizer, length=length, max_bytes=config.max_bytes
        )
        for name, path in config.sets.items()
    }


def _windows(ids: list[int], length: int) -> Iterator[list[int]]:
    """Rows of at most `length` tokens; each begins with the last token of the one before."""
    yield from (ids[start : start + length] for start in range(0, len(ids) - 1, length - 1))


def _cut(texts: Sequence[str], max_bytes: int) -> Iterator[str]:
    """Texts until the bytes are used up; the last one is cut between two characters."""
    left = max_bytes
    for text in texts:
        kept = text.encode()[:left].decode(errors="ignore")
        if kept:
            yield kept
        left -= len(text.encode())
        if left <= 0:
            return
