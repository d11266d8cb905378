"""Train a tokenizer and keep it in a folder that transformers, vLLM and Moesaic load.

The folder holds tokenizer.json and tokenizer_config.json (with the chat template), generation_config.json,
`sentencepiece.model` as it was trained, and `moesaic_tokenizer.json`, which says how it was made. It appears whole or
not at all.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import sentencepiece
from transformers import PreTrainedTokenizerFast

from moesaic.artifact.staging import StagingFolder
from moesaic.errors import CorpusError, InputError
from moesaic.model.tokenizer_files import write_tokenizer_files
from moesaic.training.data.durable import made_folder, storage_errors
from moesaic.training.tokenizer.sentencepiece_conversion import check_equal_ids, convert_pieces
from moesaic.training.tokenizer.sentencepiece_training import learn_pieces
from moesaic.training.tokenizer.tokenizer_config import TokenizerConfig

__all__ = ["DESCRIPTION_NAME", "TokenizerReport", "train_tokenizer", "write_whole_folder"]

DESCRIPTION_NAME = "moesaic_tokenizer.json"
_PIECES_NAME = "sentencepiece.model"
_CHECKED = 1000
_CHECKED_CHARACTERS = 2000
_PROBES = (
    "The quick brown fox; 3.14159 and\n\n\ttabs,   blanks ",
    "你好，世界！12个苹果（共３斤）。",
    "mixed 中文and English，emoji 👩‍👩‍👧‍👦🀄 and \u00e9 e\u0301 \u200b \ufeff",
    "\u0000\u0001 <0x41> 龘𠮷 القاهرة",
)


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """What a training of a tokenizer came to."""

    tokens: int
    """Size of the vocabulary."""
    rows: int
    """Rows for the embedding of a model."""
    documents: int
    bytes: int
    """UTF-8 bytes of the corpus."""
    bytes_per_token: float
    """On a sample of the corpus itself: flattering; measure on text that was held out."""
    compared: int
    """Texts for which the fast tokenizer was seen to give SentencePiece's ids and the text back."""


def train_tokenizer(
    texts: Iterable[str], folder: Path, config: TokenizerConfig, *, overwrite: bool = False
) -> TokenizerReport:
    """Learn a vocabulary from texts and write it to `folder`.

    Every tokenizer is checked before it is kept: on a sample of the corpus and on difficult characters it must give
    the ids of SentencePiece, and (with byte fallback and no normalization) the text itself back.

    Raises:
        CorpusError: there is too little text for that many tokens.
        InputError: the folder exists, and is not to be overwritten or is not a tokenizer of ours.
        TokenizerError: the check failed, or the chat template is broken.
        StorageError: the disk is full or may not be written.
    """
    _refuse_occupied(folder, overwrite)
    seen = _Sampled(texts, config.seed)
    model = learn_pieces(seen, config)
    tokenizer = convert_pieces(model, config.chat_template)
    sample = [*_PROBES, *seen.sample]
    compared = check_equal_ids(tokenizer, model, sample)
    if config.byte_fallback and config.normalization == "identity":
        _check_round_trips(tokenizer, sample)
    counted = sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in seen.sample)
    sampled_bytes = sum(len(text.encode()) for text in seen.sample)
    report = TokenizerReport(
        tokens=len(tokenizer),
        rows=config.embedding_rows,
        documents=seen.documents,
        bytes=seen.bytes,
        bytes_per_token=round(sampled_bytes / max(counted, 1), 4),
        compared=compared,
    )

    def write(staged: Path) -> None:
        write_tokenizer_files(tokenizer, staged, config={"vocab_size": config.embedding_rows}, where=str(folder))
        (staged / _PIECES_NAME).write_bytes(model)
        description: dict[str, Any] = {
            "config": asdict(config),
            "report": asdict(report),
            "sentencepiece": sentencepiece.__version__,
        }
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        (staged / DESCRIPTION_NAME).write_text(text, encoding="utf-8")

    write_whole_folder(folder, write, overwrite=overwrite)
    return report


def write_whole_folder(folder: Path, write: Callable[[Path], None], *, overwrite: bool) -> None:
    """Let `write` fill a hidden folder, then move it to its place in one step; nothing is left of a failed attempt."""
    folder = Path(folder).absolute()
    _refuse_occupied(folder, overwrite)
    made_folder(folder.parent)
    with storage_errors(folder):
        StagingFolder.remove_leftovers(folder)
        staging = StagingFolder.claim(folder)
        try:
            write(staging.path)
            for path in staging.path.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            if not staging.publish():
                _refuse_occupied(folder, overwrite)
                staging.publish_over()
        except BaseException:
            staging.discard()
            raise
        staging.release()


def _refuse_occupied(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not overwrite:
        raise InputError(f"{folder} exists already: choose another folder, or ask to overwrite it")
    if not (folder / DESCRIPTION_NAME).is_file():
        raise InputError(
            f"{folder} exists and is no tokenizer made here (a folder with {DESCRIPTION_NAME}), so it is not "
            "overwritten: choose another folder, or remove it yourself"
        )


def _check_round_trips(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> None:
    for text in texts:
        # U+2581 stands for a blank inside of SentencePiece, so that a text with it comes back with blanks.
        if "\u2581" in text:
            continue
        back = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))
        if back != text:
            raise CorpusError(f"the text {text[:60]!r} comes back as {back[:60]!r}: take it out of the corpus")


class _Sampled:
    """Passes texts on, counts them, and keeps some drawn at random (reservoir sampling)."""

    def __init__(self, texts: Iterable[str], seed: int) -> None:
        self._texts = texts
        self._random = Random(seed)
        self.documents = self.bytes = 0
        self.sample: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.documents += 1
            self.bytes += len(text.encode("utf-8", "replace"))
            place = self.documents - 1 if self.documents <= _CHECKED else self._random.randrange(self.documents)
            if place < _CHECKED:
                kept = text[:_CHECKED_CHARACTERS].encode("utf-8", "replace").decode()
                self.sample[place : place + 1] = [kept]
            yield text
