"""Extend the vocabulary of a tokenizer by pieces mined from text, with their decomposition into old tokens.

How this differs from `add_tokens`, by which a tokenizer finds tokens in text before anything else:

1. New pieces are real merges behind the old ones: segmentation stays that of one BPE vocabulary, no old word is cut
   where a new piece happens to begin, and text without new pieces keeps its ids.
2. A new piece is the union of tokens that stood side by side, so that the mean of their embeddings is that of what the
   model read there before.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerFast

from moesaic.model.tokenizer_files import load_tokenizer
from moesaic.training.tokenizer.bpe_vocabulary import BPEVocabulary
from moesaic.training.tokenizer.extension_config import ExtensionConfig
from moesaic.training.tokenizer.piece_mining import MinedPieces, mine_pieces

__all__ = ["Extension", "ExtensionReport", "NewToken", "extend_tokenizer"]

_HELD_OUT_EVERY = 10
_HELD_OUT_CHARACTERS = 2_000_000


class NewToken(NamedTuple):
    """A token that was added."""

    id: int
    token: str
    parts: tuple[int, ...]
    """Ids of the old tokens that stood there before, at least two (or the bytes of a character)."""


@dataclass(frozen=True, kw_only=True)
class ExtensionReport:
    """What an extension came to; bytes per token are measured on every tenth text, which nothing was mined from."""

    tokens_before: int
    tokens_after: int
    whole_pieces: int
    """New tokens that are whole characters or words; the others are steps on the way to them."""
    held_out_bytes: int
    bytes_per_token_before: float
    bytes_per_token_after: float


class Extension(NamedTuple):
    """An extended tokenizer."""

    tokenizer: PreTrainedTokenizerFast
    new_tokens: list[NewToken]
    """In the order of their ids, which follow on the highest of the old ones."""
    report: ExtensionReport


def extend_tokenizer(
    tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], config: ExtensionConfig | None = None
) -> Extension:
    """Add the pieces that shorten `texts` most; the given tokenizer is left as it is.

    Raises:
        TokenizerError: the tokenizer isn't a BPE vocabulary that can spell every character.
        CorpusError: nothing in the texts repeats often enough.
    """
    config = config or ExtensionConfig()
    vocabulary = BPEVocabulary(tokenizer)
    held_out: list[str] = []
    mined = mine_pieces(vocabulary, _without_held_out(texts, held_out), config)
    new_tokens = _with_parts(vocabulary, mined)
    extended = _rewrapped(tokenizer, vocabulary, mined)
    measured = sum(len(text.encode()) for text in held_out)
    whole = sum(vocabulary.text_of(new.token) is not None for new in new_tokens)
    report = ExtensionReport(
        tokens_before=len(tokenizer),
        tokens_after=len(extended),
        whole_pieces=whole,
        held_out_bytes=measured,
        bytes_per_token_before=_bytes_per_token(tokenizer, held_out, measured),
        bytes_per_token_after=_bytes_per_token(extended, held_out, measured),
    )
    return Extension(extended, new_tokens, report)


def _without_held_out(texts: Iterable[str], held_out: list[str]) -> Iterator[str]:
    """Texts but every tenth, which goes to `held_out` until that is large enough."""
    kept = 0
    for number, text in enumerate(texts, start=1):
        sound = text.encode("utf-8", "replace").decode()
        if number % _HELD_OUT_EVERY == 0 and kept < _HELD_OUT_CHARACTERS:
            held_out.append(sound)
            kept += len(sound)
        else:
            yield sound


def _with_parts(vocabulary: BPEVocabulary, mined: MinedPieces) -> list[NewToken]:
    parts: dict[str, tuple[int, ...]] = {}
    for character in mined.characters:
        parts[character] = tuple(vocabulary.ids[f"<0x{byte:02X}>"] for byte in character.encode())
    for left, right in mined.merges:
        sides = [parts[side] if side in parts else (vocabulary.ids[side],) for side in (left, right)]
        parts.setdefault(left + right, sides[0] + sides[1])
    return [NewToken(rank, token, parts[token]) for rank, token in enumerate(parts, start=vocabulary.next_id)]


def _rewrapped(
    tokenizer: PreTrainedTokenizerFast, vocabulary: BPEVocabulary, mined: MinedPieces
) -> PreTrainedTokenizerFast:
    """The same settings (special tokens, chat template) around the extended vocabulary."""
    backend = vocabulary.extended(mined.characters, mined.merges)
    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        tokenizer.save_pretrained(folder, save_jinja_files=False)
        backend.save(str(Path(folder, "tokenizer.json")))
        return load_tokenizer(Path(folder))


def _bytes_per_token(tokenizer: PreTrainedTokenizerFast, texts: list[str], measured: int) -> float:
    tokens = sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
    return round(measured / tokens, 4) if tokens else 0.0
