"""Conversations as an endless, resumable stream of batches.

- Every epoch is shuffled and packed anew, from the seed and the number of the epoch alone; no two epochs put the same
  examples side by side.
- The rows of all epochs are one stream. A batch is the next `rows` of them, of which process `rank` takes every
  `world_size`-th, so that the processes together see what one process would.
- The position is an epoch and a row, the same on all processes: a run may be resumed on another number of them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch

from moesaic.errors import CorpusError, DamagedRunError, RecipeError
from moesaic.training.batch import IGNORED, Batch
from moesaic.training.tuning.conversation import Example
from moesaic.training.tuning.encoded_example import EncodedExample, ExampleEncoder
from moesaic.training.tuning.row_packing import pack_rows

__all__ = ["ConversationSource"]


class ConversationSource:
    """A `BatchSource` of packed examples. Shapes: B rows, S positions.

    Args:
        examples: what to learn; those longer than a row are left out and counted in `too_long`.
        rows: rows of a batch over all processes; `world_size` divides it.
        sequence_length: positions of a row, S.
        seed: of the shuffles.
        pad_id: token that fills rows.
        rank: number of this process, from 0.
        world_size: number of processes.

    Raises:
        RecipeError: a number is out of its range.
        CorpusError: no example fits into a row.
    """

    def __init__(
        self,
        examples: Iterable[EncodedExample],
        *,
        rows: int,
        sequence_length: int,
        seed: int,
        pad_id: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        length = sequence_length
        if length < 2 or not 0 <= rank < world_size or rows < 1 or rows % world_size:
            raise RecipeError(
                f"sequence_length={length!r} must be at least 2, rows={rows!r} a multiple of the {world_size} "
                f"processes, and rank={rank!r} one of them"
            )
        given = list(examples)
        self.examples = [example for example in given if len(example.token_ids) <= length]
        self.too_long = len(given) - len(self.examples)
        """Examples that no row holds: cut off, they would teach the model to stop in the middle."""
        if not self.examples:
            longest = max((len(example.token_ids) for example in given), default=0)
            raise CorpusError(
                f"none of {len(given)} examples fits into {length} tokens (the longest has {longest}): "
                "raise sequence_length, or shorten them"
            )
        self.rows, self.length, self.seed, self.pad_id = rows, length, seed, pad_id
        self.rank, self.world_size = rank, world_size
        self.digest = _digest(self.examples, length, seed)
        self._start(epoch=0, row=0)

    @classmethod
    def of(cls, examples: Iterable[Example], encoder: ExampleEncoder, **options: Any) -> Self:
        """Encode examples and make a source of them; `options` as above, errors also those of `ExampleEncoder`."""
        encoded = [sequence for example in examples for sequence in encoder.encode(example)]
        return cls(encoded, pad_id=encoder.pad_id, **options)

    @property
    def epoch(self) -> int:
        """How many times every example was seen."""
        return self._epoch

    @property
    def rows_of_epoch(self) -> int:
        """Rows that the present epoch is packed into."""
        return len(self._plan)

    @property
    def learnt_tokens(self) -> int:
        """Tokens that are learnt in one epoch."""
        return int(sum(int(example.is_learnt.sum()) for example in self.examples))

    def next(self) -> Batch:
        """The next batch of this process."""
        return self._batch([self._next_row() for _ in range(self.rows)][self.rank :: self.world_size])

    def state(self) -> dict[str, Any]:
        """Where the stream stands; the same on all processes."""
        return {"epoch": self._epoch, "row": self._row, "digest": self.digest}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state` was taken.

        Raises:
            DamagedRunError: the state is of other examples, another length or seed, or none of a `ConversationSource`.
        """
        if set(state) != {"epoch", "row", "digest"} or not all(
            isinstance(state[name], int) and state[name] >= 0 for name in ("epoch", "row")
        ):
            raise DamagedRunError(
                f"{str(dict(state))[:120]} is no position of conversations: resume with the same recipe"
            )
        if state["digest"] != self.digest:
            raise DamagedRunError(
                f"the run was begun with other conversations, length or seed (digest {str(state['digest'])[:12]}, now "
                f"{self.digest[:12]}): put them back, or begin a new run"
            )
        self._start(epoch=state["epoch"], row=state["row"])

    def _start(self, *, epoch: int, row: int) -> None:
        """Shuffle and pack an epoch."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.examples)).tolist()
        packed = pack_rows([len(self.examples[number].token_ids) for number in order], self.length)
        self._plan = [[order[place] for place in row_of] for row_of in packed]
        if row > len(self._plan):
            raise DamagedRunError(
                f"row {row} lies beyond epoch {epoch}, which has {len(self._plan)}: the run is damaged"
            )
        self._epoch, self._row = epoch, row

    def _next_row(self) -> list[int]:
        if self._row == len(self._plan):
            self._start(epoch=self._epoch + 1, row=0)
        self._row += 1
        return self._plan[self._row - 1]

    def _batch(self, rows: Sequence[Sequence[int]]) -> Batch:
        shape = (len(rows), self.length)
        ids_BS = np.full(shape, self.pad_id, dtype=np.int64)
        labels_BS = np.full(shape, IGNORED, dtype=np.int64)
        documents_BS = np.full(shape, -1, dtype=np.int64)
        for number, row in enumerate(rows):
            start = 0
            for document, index in enumerate(row):
                example = self.examples[index]
                end = start + len(example.token_ids)
                ids_BS[number, start:end] = example.token_ids
                labels_BS[number, start:end] = np.where(example.is_learnt, example.token_ids, IGNORED)
                documents_BS[number, start:end] = document
                start = end
        return Batch(
            input_ids_BS=torch.from_numpy(ids_BS),
            labels_BS=torch.from_numpy(labels_BS),
            documents_BS=torch.from_numpy(documents_BS),
        )


def _digest(examples: Sequence[EncodedExample], length: int, seed: int) -> str:
    digest = hashlib.sha256(f"{length} {seed} {len(examples)}".encode())
    for example in examples:
        digest.update(len(example.token_ids).to_bytes(8, "little"))
        digest.update(example.token_ids.tobytes())
        digest.update(example.is_learnt.tobytes())
    return digest.hexdigest()
