"""Sequences side by side in rows of one length, so that little is computed for padding.

First fit over a few open rows, in the order given: a shuffled order stays shuffled, and the rest of a row is filled by
whichever sequence comes along that fits.
"""

from collections.abc import Sequence

from moesaic.errors import InputError

__all__ = ["OPEN_ROWS", "pack_rows"]

OPEN_ROWS = 64
"""Rows that wait for something that fits; the fullest is closed when there would be more."""


def pack_rows(lengths: Sequence[int], length: int, *, open_rows: int = OPEN_ROWS) -> list[list[int]]:
    """Which sequences go into which row: every index of `lengths` once, no row longer than `length` tokens.

    Raises:
        InputError: a sequence is empty or longer than a row.
    """
    closed: list[list[int]] = []
    opened: list[tuple[int, list[int]]] = []
    for index, size in enumerate(lengths):
        if not 0 < size <= length:
            raise InputError(f"sequence {index} has {size} tokens; a row holds 1 to {length}")
        place = next((number for number, (room, _) in enumerate(opened) if room >= size), None)
        if place is None:
            if len(opened) == open_rows:
                fullest = min(range(open_rows), key=lambda number: opened[number][0])
                closed.append(opened.pop(fullest)[1])
            opened.append((length, []))
            place = len(opened) - 1
        room, row = opened[place]
        row.append(index)
        if room == size:
            closed.append(opened.pop(place)[1])
        else:
            opened[place] = (room - size, row)
    return closed + [row for _, row in opened]
