"""Compare tokenizers on held-out texts: how much a token carries, and how much falls apart into bytes.

Perplexities of models with different tokenizers cannot be compared, and neither can tokens: all measures here are per
byte or per character. See `tiny_model_comparison` for bits per byte.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from moesaic.errors import CorpusError
from moesaic.training.tokenizer.bpe_vocabulary import BPEVocabulary, character_bytes

__all__ = ["Compression", "compare_compression", "measure_compression"]


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How a tokenizer does on some texts."""

    texts: int
    characters: int
    bytes: int
    tokens: int
    bytes_per_token: float
    characters_per_token: float
    fallback_rate: float
    """Share of characters that no token holds whole: they are spelt in tokens of one or more of their bytes."""
    unknown_rate: float
    """Share of tokens that are the unknown token: text that is lost."""


def measure_compression(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> Compression:
    """Measure a tokenizer on texts, without control tokens at their ends. Raises `CorpusError` without any text."""
    vocabulary = BPEVocabulary(tokenizer)
    lost = tokenizer.unk_token
    split_of: dict[str, int] = {}
    counted = characters = measured = tokens = unknown = split = 0
    for text in texts:
        sound = text.encode("utf-8", "replace").decode()
        found = vocabulary.backend.encode(sound, add_special_tokens=False).tokens
        counted += 1
        characters += len(sound)
        measured += len(sound.encode())
        tokens += len(found)
        # A text may spell the unknown token out, as some corpora do; that is not lost.
        unknown += max(0, found.count(lost) - sound.count(lost)) if lost else 0
        for token in found:
            if token not in split_of:
                split_of[token] = 0 if token in vocabulary.added else _split_characters(vocabulary.bytes_of(token))
            split += split_of[token]
    if not tokens:
        raise CorpusError("there is no held-out text to compare tokenizers on: give files with some text")
    return Compression(
        texts=counted,
        characters=characters,
        bytes=measured,
        tokens=tokens,
        bytes_per_token=measured / tokens,
        characters_per_token=characters / tokens,
        fallback_rate=split / characters,
        unknown_rate=unknown / tokens,
    )


def compare_compression(
    tokenizers: Mapping[str, PreTrainedTokenizerFast], corpora: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Compression]]:
    """Every tokenizer on every corpus (such as one English and one Chinese), by their names."""
    return {
        name: {corpus: measure_compression(tokenizer, texts) for corpus, texts in corpora.items()}
        for name, tokenizer in tokenizers.items()
    }


def _split_characters(spelling: bytes) -> int:
    """How many characters begin in these bytes and do not end there."""
    return sum(byte >= 0xC0 and at + character_bytes(byte) > len(spelling) for at, byte in enumerate(spelling))
