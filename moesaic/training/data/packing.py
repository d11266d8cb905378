"""Documents into rows of equal length: which piece of which document lies where, for one pass over a corpus.

Legend: N documents, R rows, P pieces, S positions of a row.

- `stream` lays shuffled documents side by side and cuts every S tokens: no padding but in the very last row.
- `best_fit` cuts only documents longer than S, and puts what fits best into each row: fewer cut documents, some
  padding ("Fewer Truncations Improve Language Modeling", Ding et al. 2024, arXiv:2404.10830, section 3). How this
  differs: 1. pieces are packed in windows of 4096 shuffled ones rather than all at once, so that a row is no collection
  of pieces of one length, and the cost stays linear; 2. rows are shuffled afterwards.

In both every token of the corpus lies in exactly one row of a pass.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from moesaic.errors import RecipeError

__all__ = ["PACKINGS", "PackedRows", "Packing", "Piece", "packed_rows"]

Packing = Literal["stream", "best_fit"]
PACKINGS: tuple[Packing, ...] = ("stream", "best_fit")

_WINDOW_PIECES = 4096

_Ints = npt.NDArray[np.int64]

Piece = tuple[int, int, int]
"""Document, first token, and the token to stop before."""


@dataclass(frozen=True, kw_only=True)
class PackedRows:
    """The rows of one pass: row r holds the pieces `firsts[r]` to `firsts[r + 1]`, side by side from its left."""

    documents: _Ints
    """The document of each piece [P]."""
    starts: _Ints
    """Its first token [P]."""
    stops: _Ints
    """The token to stop before [P]."""
    firsts: _Ints
    """Where each row's pieces begin, and the end of the last row's [R + 1]."""

    def __len__(self) -> int:
        return self.firsts.size - 1

    def __getitem__(self, row: int) -> list[Piece]:
        """The pieces of a row, in order."""
        found = slice(int(self.firsts[row]), int(self.firsts[row + 1]))
        columns = (self.documents[found], self.starts[found], self.stops[found])
        return list(zip(*(column.tolist() for column in columns), strict=True))


def packed_rows(
    lengths_N: _Ints, sequence_length: int, *, packing: Packing, generator: np.random.Generator | None
) -> PackedRows:
    """Lay the documents of one pass into rows.

    Args:
        lengths_N: tokens of each document, all at least 1.
        sequence_length: S.
        packing: how; see the module.
        generator: shuffles documents and rows; None keeps the documents in order (`stream` only).

    Raises:
        RecipeError: the packing is unknown, it needs a generator, or the length is below 2.
    """
    if packing not in PACKINGS:
        raise RecipeError(f"packing={packing!r} must be one of {', '.join(PACKINGS)}")

    if sequence_length < 2:
        raise RecipeError(f"sequence_length={sequence_length!r} must be at least 2: a row of one token teaches nothing")

    order_N = np.arange(lengths_N.size) if generator is None else generator.permutation(lengths_N.size)
    if packing == "stream":
        return _stream(lengths_N, order_N, sequence_length)

    if generator is None:
        raise RecipeError("packing='best_fit' shuffles: give a generator, or choose 'stream'")

    return _best_fit(lengths_N, order_N, sequence_length, generator)


def _stream(lengths_N: _Ints, order_N: _Ints, sequence_length: int) -> PackedRows:
    ends_N = np.cumsum(lengths_N[order_N])
    total = int(ends_N[-1])
    begins_N = ends_N - lengths_N[order_N]
    row_starts = np.arange(0, total, sequence_length)
    # A piece begins where a document or a row begins.
    begin_P = np.union1d(begins_N, row_starts)
    end_P = np.append(begin_P[1:], total)
    place_P = np.searchsorted(ends_N, begin_P, side="right")
    return PackedRows(
        documents=order_N[place_P],
        starts=begin_P - begins_N[place_P],
        stops=end_P - begins_N[place_P],
        firsts=np.append(np.searchsorted(begin_P, row_starts), begin_P.size),
    )


def _best_fit(lengths_N: _Ints, order_N: _Ints, sequence_length: int, generator: np.random.Generator) -> PackedRows:
    counts_N = -(-lengths_N[order_N] // sequence_length)
    document_P = np.repeat(order_N, counts_N)
    first_of_document_P = np.repeat(np.cumsum(counts_N) - counts_N, counts_N)
    start_P = (np.arange(document_P.size) - first_of_document_P) * sequence_length
    stop_P = np.minimum(start_P + sequence_length, lengths_N[document_P])

    shuffled_P = generator.permutation(document_P.size)
    sizes_P = stop_P - start_P
    rows: list[list[int]] = []
    for begin in range(0, shuffled_P.size, _WINDOW_PIECES):
        window = shuffled_P[begin : begin + _WINDOW_PIECES]
        rows += _fitted(window[np.argsort(-sizes_P[window], kind="stable")].tolist(), sizes_P, sequence_length)
    rows = [rows[number] for number in generator.permutation(len(rows))]
    pieces_P = np.concatenate([np.asarray(row) for row in rows])
    return PackedRows(
        documents=document_P[pieces_P],
        starts=start_P[pieces_P],
        stops=stop_P[pieces_P],
        firsts=np.cumsum([0, *map(len, rows)]),
    )


def _fitted(pieces: list[int], sizes_P: _Ints, sequence_length: int) -> list[list[int]]:
    """Each piece, largest first, into the row whose room it fills best; a new row if it fits nowhere."""
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    for piece in pieces:
        size = int(sizes_P[piece])
        place = bisect_left(rooms, (size, -1))
        if place < len(rooms):
            room, row = rooms.pop(place)
        else:
            room, row = sequence_length, len(rows)
            rows.append([])
        rows[row].append(piece)
        if room > size:
            insort(rooms, (room - size, row))
    return rows
