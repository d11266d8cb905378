"""Batches mixed from several corpora by ratio, for ever, and exactly the same again after an interruption.

- **Every batch is heterogeneous**: each corpus has a quota of rows in each batch, not only on average. A quota that is
  no whole number is carried over: with ratio 5 % and 8 rows the corpus gives a row to two batches of five, evenly
  spread, and after any number of batches no corpus is a whole row ahead of its share.
- Each corpus is passed through in its own shuffled order, every token once per pass; a small corpus starts its next
  pass while a large one is still in its first.
- **The global batch does not depend on the number of processes**: process `rank` of `world_size` takes every
  world_size-th of its rows. The state is the same in all of them, and a run may go on with another number.
- The state is a few integers: a position is looked up in the pass that seed, corpus and pass number determine.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from moesaic.errors import CorpusError, DamagedRunError, RecipeError
from moesaic.training.batch import Batch
from moesaic.training.data.packing import PackedRows, Packing, Piece, packed_rows
from moesaic.training.data.row_batch import row_batch
from moesaic.training.data.shard_reader import ShardReader

__all__ = ["Component", "MixtureSource"]

_ROW_ORDER = 1 << 31
"""Sets the random numbers for the order inside of a batch apart from those for the passes."""
_FINEST_RATIO = 10**6


@dataclass(frozen=True, kw_only=True)
class Component:
    """One corpus of a mixture."""

    name: str
    reader: ShardReader
    ratio: float | None = None
    """Its share of the rows, in proportion to the ratios of the others; None in all of them: by number of tokens."""


class MixtureSource:
    """A `BatchSource` over shards.

    Args:
        components: the corpora, with distinct names; all tokenized alike.
        sequence_length: tokens of a row, S.
        rows: rows of a global batch; `world_size` divides it.
        seed: determines every order.
        packing: how documents are laid into rows, `stream` or `best_fit`.
        rank: number of this process, from 0.
        world_size: number of processes.

    Raises:
        RecipeError: a number is out of its range, names are not distinct, or some ratios are given and others not.
        CorpusError: the components were tokenized differently.
    """

    def __init__(
        self,
        components: Sequence[Component],
        *,
        sequence_length: int,
        rows: int,
        seed: int = 0,
        packing: Packing = "stream",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size:
            raise RecipeError(f"rank={rank!r} must be 0 to world_size - 1 ({world_size - 1})")

        if rows < 1 or rows % world_size:
            raise RecipeError(f"rows={rows!r} must be a multiple of world_size ({world_size}), and at least that")

        if not 0 <= seed < 1 << 63:
            raise RecipeError(f"seed={seed!r} must be 0 to {(1 << 63) - 1}")

        self.components = tuple(components)
        self.sequence_length = sequence_length
        self.rows = rows
        self.seed = seed
        self.packing: Packing = packing
        self.rank = rank
        self.world_size = world_size
        _check_components(self.components)
        self._weights = _weights(self.components)
        self._whole = sum(self._weights)
        self._step = 0
        # What a component is owed, in rows times the sum of all weights: whole numbers, so that nothing drifts.
        self._owed = [0] * len(self.components)
        self._pass = [0] * len(self.components)
        self._row = [0] * len(self.components)
        self._plans: dict[int, tuple[int, PackedRows]] = {}
        for component in range(len(self.components)):
            self._plan(component)

    def next(self) -> Batch:
        """This process's rows of the next global batch [B = rows / world_size, S]."""
        rows = [self._take(component) for component in self._allot()]
        order = np.random.default_rng([self.seed, _ROW_ORDER, self._step]).permutation(self.rows)
        self._step += 1
        mine = order[self.rank :: self.world_size]
        return row_batch([rows[number] for number in mine], self.sequence_length)

    def passes(self) -> dict[str, float]:
        """How often each component has been passed through, as a fraction of its rows."""
        return {
            component.name: self._pass[number] + self._row[number] / len(self._plan(number))
            for number, component in enumerate(self.components)
        }

    def state(self) -> dict[str, Any]:
        """The position, as JSON values; the same in every process."""
        return {
            "source": self._identity(),
            "step": self._step,
            "owed": list(self._owed),
            "pass": list(self._pass),
            "row": list(self._row),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a position.

        Raises:
            RecipeError: it is of another mixture: other corpora, ratios, lengths, rows, seed or packing.
            DamagedRunError: it is no state of a mixture.
        """
        identity = self._identity()
        saved = state.get("source")
        if not isinstance(saved, Mapping):
            raise DamagedRunError("the saved data position is not one of a mixture: resume from another checkpoint")

        changed = [name for name in identity if saved.get(name) != identity[name]]
        if changed:
            differences = "; ".join(f"{name} was {saved.get(name)!r}, is {identity[name]!r}" for name in changed)
            raise RecipeError(f"the data is not that of the run ({differences}): restore it, or start a new run")

        lists = [state.get(name) for name in ("owed", "pass", "row")]
        step = state.get("step")
        if not (_is_count(step) and all(_are_integers(value, len(self.components)) for value in lists)):
            raise DamagedRunError("the saved data position is damaged: resume from another checkpoint")

        owed, passes, rows = ([int(number) for number in value] for value in lists if value is not None)
        if min(passes + rows) < 0:
            raise DamagedRunError("the saved data position is below 0: resume from another checkpoint")

        before = (self._step, self._owed, self._pass, self._row)
        self._step, self._owed, self._pass, self._row = int(step or 0), owed, passes, rows
        for component, row in enumerate(rows):
            if row >= len(self._plan(component)):
                self._step, self._owed, self._pass, self._row = before
                raise DamagedRunError(
                    f"the saved position {row} of {self.components[component].name!r} is behind its end: resume from "
                    "another checkpoint"
                )

    def _identity(self) -> dict[str, Any]:
        return {
            "sequence_length": self.sequence_length,
            "rows": self.rows,
            "seed": self.seed,
            "packing": self.packing,
            "components": [
                [component.name, weight, component.reader.digest]
                for component, weight in zip(self.components, self._weights, strict=True)
            ],
        }

    def _allot(self) -> list[int]:
        """Which component gives each row of the next global batch: always the one that is owed most."""
        for component, weight in enumerate(self._weights):
            self._owed[component] += weight * self.rows
        chosen = []
        for _ in range(self.rows):
            component = max(range(len(self._owed)), key=self._owed.__getitem__)
            self._owed[component] -= self._whole
            chosen.append(component)
        return chosen

    def _take(self, component: int) -> tuple[ShardReader, list[Piece]]:
        plan = self._plan(component)
        pieces = plan[self._row[component]]
        self._row[component] += 1
        if self._row[component] == len(plan):
            self._row[component] = 0
            self._pass[component] += 1
        return self.components[component].reader, pieces

    def _plan(self, component: int) -> PackedRows:
        """The rows of the pass that a component is in."""
        wanted = self._pass[component]
        known = self._plans.get(component)
        if known is None or known[0] != wanted:
            generator = np.random.default_rng([self.seed, component, wanted])
            lengths_N = self.components[component].reader.lengths_N
            plan = packed_rows(lengths_N, self.sequence_length, packing=self.packing, generator=generator)
            self._plans[component] = (wanted, plan)
            return plan

        return known[1]


def _check_components(components: Sequence[Component]) -> None:
    names = [component.name for component in components]
    if not names or len(set(names)) < len(names):
        raise RecipeError(f"components={names!r} must be at least one, with distinct names")

    kinds = {(c.reader.index.vocab_size, c.reader.index.eos_token_id, c.reader.index.tokenizer) for c in components}
    if len(kinds) > 1:
        raise CorpusError(
            f"the corpora {', '.join(names)} were tokenized differently (vocabulary size, end token, tokenizer: "
            f"{sorted(kinds)}): make their shards with one tokenizer"
        )


def _weights(components: Sequence[Component]) -> list[int]:
    """The ratios as whole numbers."""
    ratios = [component.ratio for component in components]
    if all(ratio is None for ratio in ratios):
        return [component.reader.index.tokens for component in components]

    given = [ratio for ratio in ratios if ratio is not None]
    if len(given) < len(ratios) or not all(math.isfinite(ratio) and ratio > 0 for ratio in given):
        raise RecipeError(f"ratios={ratios!r} must all be above 0, or none of them be given")

    shares = [Fraction(ratio / sum(given)).limit_denominator(_FINEST_RATIO) for ratio in given]
    if min(shares) == 0:
        raise RecipeError(f"ratios={ratios!r}: the smallest is below a millionth of their sum; leave it out")

    scale = math.lcm(*(share.denominator for share in shares))
    return [int(share * scale) for share in shares]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _are_integers(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(isinstance(number, int) for number in value)
