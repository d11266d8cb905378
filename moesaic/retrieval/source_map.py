"""From offsets in a cleaned text back to offsets in the source that it was made of.

Cleaning drops and replaces characters (a byte order mark, carriage returns, control characters). What is left between
two changes is a run: there text and source advance together, so that a list of runs is the whole map.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

from moesaic.errors import InputError

__all__ = ["Run", "SourceMap"]


class Run(NamedTuple):
    """Where a stretch of text begins, and where the same stretch begins in the source. Code-point offsets."""

    text: int
    source: int


@dataclass(frozen=True)
class SourceMap:
    """Exact map from text to source; a map without runs says that the source has no such offsets (HTML)."""

    runs: tuple[Run, ...] = ()

    @classmethod
    def identity(cls) -> Self:
        """The map of a text that was left as it is."""
        return cls((Run(0, 0),))

    @classmethod
    def from_runs(cls, runs: Iterable[tuple[int, int]]) -> Self:
        """A map of runs in ascending order; runs that only continue the one before are left out."""
        kept: list[Run] = []
        for text, source in runs:
            if not kept or text - kept[-1].text != source - kept[-1].source:
                kept.append(Run(text, source))
        return cls(tuple(kept))

    def to_source(self, offset: int) -> int | None:
        """Source offset of a text offset, or None where the source has no offsets.

        Raises:
            InputError: the offset is negative.
        """
        if offset < 0:
            raise InputError(f"offset={offset} must be at least 0")

        if not self.runs:
            return None

        run = self.runs[max(0, bisect_right(self.runs, offset, key=lambda run: run.text) - 1)]
        return run.source + offset - run.text
