"""Plain text files as training data, tokenized at the start: for small recipes that need no shards.

- Every file is one document, or every paragraph block of a file if `split` says so. An end-of-text token closes each.
- Documents are shuffled for every pass, laid side by side and cut every S tokens. The order depends on seed and pass
  alone, so that the position is two integers.
- The rows of a batch do not depend on the number of processes: process `rank` takes every `world_size`-th of them.

Shapes: B rows, S positions, N tokens of a pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from moesaic.errors import CorpusError, DamagedRunError, RecipeError, TokenizerError
from moesaic.training.batch import IGNORED, Batch

__all__ = ["TextConfig", "TextSource", "read_documents"]


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The `[text]` table of a recipe: training data straight from text files."""

    paths: tuple[Path, ...]
    """Files, and folders whose .txt and .md files are taken."""
    split: Literal["file", "paragraphs"] = "file"
    """What a document is: a file, or what stands between two empty lines."""
    encoding: str = "utf-8"
    """Encoding of the files."""

    def __post_init__(self) -> None:
        """Refuse an empty list."""
        if not self.paths:
            raise RecipeError("paths=[] names no text: give at least one file or folder")


def read_documents(config: TextConfig) -> list[str]:
    """The documents of a corpus, in order of paths; empty ones are left out.

    Raises:
        CorpusError: a path is not there or is not text in the encoding, or there is no document at all.
    """
    documents: list[str] = []
    for given in config.paths:
        path = given.expanduser()
        if path.is_dir():
            files = sorted(item for item in path.rglob("*") if item.suffix in (".txt", ".md") and item.is_file())
        elif path.is_file():
            files = [path]
        else:
            raise CorpusError(f"there is no file or folder {str(given)!r}: correct the path")
        for file in files:
            try:
                text = file.read_text(encoding=config.encoding)
            except (UnicodeDecodeError, LookupError) as error:
                raise CorpusError(
                    f"{file} is not text in {config.encoding} ({error}): set text.encoding, or clean the file with "
                    "`moesaic data`"
                ) from error
            documents += text.split("\n\n") if config.split == "paragraphs" else [text]
    documents = [document for document in documents if document.strip()]
    if not documents:
        raise CorpusError(f"{', '.join(map(str, config.paths))} hold no text: give .txt or .md files with content")
    return documents


class TextSource:
    """A `BatchSource` over documents in memory.

    Args:
        documents: token ids of each document, without an end token.
        eos: end-of-text token that closes each document.
        sequence_length: tokens of a row, S.
        rows: rows of a batch over all processes; `world_size` divides it.
        seed: determines every order.
        rank: number of this process, from 0.
        world_size: number of processes.

    Raises:
        RecipeError: a number is out of its range.
        CorpusError: there are fewer tokens than a row has.
    """

    def __init__(
        self,
        documents: Sequence[Sequence[int]],
        *,
        eos: int,
        sequence_length: int,
        rows: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if sequence_length < 2 or rows < 1 or rows % world_size or not 0 <= rank < world_size:
            raise RecipeError(
                f"sequence_length={sequence_length!r} must be at least 2, and rows={rows!r} a multiple of the "
                f"{world_size} processes"
            )
        self._documents = [np.asarray([*document, eos], dtype=np.int64) for document in documents]
        total = sum(map(len, self._documents))
        if total < sequence_length:
            raise CorpusError(
                f"the text has {total} tokens, a row has {sequence_length}: give more text, or a smaller "
                "batch.sequence_length"
            )
        self._length, self._rows, self._seed = sequence_length, rows, seed
        self._rank, self._size = rank, world_size
        self._rows_of_pass = total // sequence_length
        self._pass, self._row = 0, 0
        self._laid: tuple[int, np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, **options: Any) -> "TextSource":
        """Tokenize documents and make a source of them; `TokenizerError` if the tokenizer has no end-of-text token."""
        if tokenizer.eos_token_id is None:
            raise TokenizerError(
                "the tokenizer has no end-of-text token (eos_token): documents could not be told apart"
            )
        ids = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return cls(ids, eos=tokenizer.eos_token_id, **options)

    def next(self) -> Batch:
        """This process's rows of the next batch."""
        rows = [self._next_row() for _ in range(self._rows)][self._rank :: self._size]
        ids_BS = np.stack([ids_S for ids_S, _ in rows])
        documents_BS = np.stack([documents_S - documents_S[0] for _, documents_S in rows])
        labels_BS = ids_BS.copy()
        begins_BS = np.ones_like(ids_BS, dtype=bool)
        begins_BS[:, 1:] = documents_BS[:, 1:] != documents_BS[:, :-1]
        labels_BS[begins_BS] = IGNORED
        return Batch(
            input_ids_BS=torch.from_numpy(ids_BS),
            labels_BS=torch.from_numpy(labels_BS),
            documents_BS=torch.from_numpy(documents_BS),
        )

    def state(self) -> dict[str, Any]:
        """The position, as JSON values; the same in every process."""
        return {"pass": self._pass, "row": self._row, "rows_of_pass": self._rows_of_pass}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a position; `DamagedRunError` if it is not one of this text."""
        found = state.get("pass"), state.get("row")
        if state.get("rows_of_pass") != self._rows_of_pass or not all(isinstance(x, int) and x >= 0 for x in found):
            raise DamagedRunError(
                f"the saved position {dict(state)} is not one of this text, a pass of which has {self._rows_of_pass} "
                "rows: restore the text that the run was started with"
            )
        self._pass, self._row = int(state["pass"]), int(state["row"])

    def _next_row(self) -> tuple[np.ndarray, np.ndarray]:
        if self._row >= self._rows_of_pass:
            self._pass, self._row = self._pass + 1, 0
        if self._laid is None or self._laid[0] != self._pass:
            self._laid = (self._pass, *self._lay())
        _, ids_N, documents_N = self._laid
        here = slice(self._row * self._length, (self._row + 1) * self._length)
        self._row += 1
        return ids_N[here], documents_N[here]

    def _lay(self) -> tuple[np.ndarray, np.ndarray]:
        """The documents of the present pass side by side, and the number of each token's document."""
        order = np.random.default_rng([self._seed, self._pass]).permutation(len(self._documents))
        laid = [self._documents[number] for number in order]
        return np.concatenate(laid), np.repeat(np.arange(len(laid)), [len(document) for document in laid])
