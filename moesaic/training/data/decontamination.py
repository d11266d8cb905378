"""Training texts that share a long run of words with an evaluation text are left out.

GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C) looks for common 13-grams. How this differs: 1. a run of
Chinese is 24 characters, about as much text; 2. the whole document goes, rather than 200 characters around the run;
3. an evaluation text shorter than that is looked for whole, if it has at least eight units; below that it is no
evidence, and is counted.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from moesaic.errors import CorpusError
from moesaic.training.data.grams import Hashes, Units, grams, units_of

__all__ = ["CHARACTERS", "WORDS", "EvaluationTexts"]

WORDS = 13
"""Words of a run that must not be shared."""
CHARACTERS = 24
"""Characters of a run of Chinese."""
_FEWEST = 8


class EvaluationTexts:
    """What must not be trained on.

    Args:
        texts: questions, answers, contexts: whatever a model is evaluated with.

    Raises:
        CorpusError: none of them is long enough to be looked for.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        found: dict[int, list[Hashes]] = {}
        self.texts = 0
        self.too_short = 0
        for text in texts:
            self.texts += 1
            units = units_of(text)
            runs = {size: hashes for size in (WORDS, CHARACTERS) if (hashes := _runs(units, size)).size}
            if not runs and units.hashes.size >= _FEWEST:
                runs = {units.hashes.size: grams(units.hashes, units.hashes.size)}
            self.too_short += not runs
            for size, hashes in runs.items():
                found.setdefault(size, []).append(hashes)
        if not found:
            raise CorpusError(
                f"none of the {self.texts} evaluation texts has {_FEWEST} words or characters: give whole questions or "
                "passages"
            )

        self._runs = {size: np.unique(np.concatenate(hashes)) for size, hashes in found.items()}

    def shared_runs(self, text: str) -> int:
        """How many runs of a text are also in an evaluation text."""
        units = units_of(text)
        return sum(_members(_looked_at(units, size), hashes) for size, hashes in self._runs.items())

    def to_json(self) -> dict[str, Any]:
        """Counts as plain JSON values."""
        sizes = Counter({str(size): int(hashes.size) for size, hashes in self._runs.items()})
        return {"texts": self.texts, "too_short": self.too_short, "runs": dict(sizes)}


def _runs(units: Units, size: int) -> Hashes:
    """Runs of 13 units that are mostly words, or of 24 that are mostly characters."""
    found = grams(units.hashes, size)
    if not found.size:
        return found

    single = np.convolve(units.single, np.ones(size, dtype=np.int64), mode="valid")
    chinese = 2 * single >= size
    return found[chinese if size == CHARACTERS else ~chinese]


def _looked_at(units: Units, size: int) -> Hashes:
    return _runs(units, size) if size in (WORDS, CHARACTERS) else grams(units.hashes, size)


def _members(hashes: Hashes, wanted: Hashes) -> int:
    """How many of `hashes` are in the sorted set `wanted`."""
    places = np.minimum(np.searchsorted(wanted, hashes), wanted.size - 1)
    return int((wanted[places] == hashes).sum())
