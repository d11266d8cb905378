"""Prepared data: the shards that a preparation left, and sources of batches over them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from moesaic.errors import CorpusError
from moesaic.training.data.durable import written_json
from moesaic.training.data.packing import Packing
from moesaic.training.data.shard_reader import ShardReader

if TYPE_CHECKING:
    from moesaic.training.data.mixture import MixtureSource

__all__ = ["RECORD_NAME", "PreparedData"]

RECORD_NAME = "prepared.json"


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """What a recipe's data came to; other processes open it by its folder."""

    folder: Path
    train: Mapping[str, Path]
    """Folder of the shards of each source."""
    held_out: Mapping[str, Path]
    """Folder of its held-out shards, where it has some."""
    ratios: Mapping[str, float | None]
    """The recipe's ratios."""
    packing: Packing
    seed: int
    digest: str
    """Identity of the shards and of how they were made."""
    report: Mapping[str, Any]
    """The report of every stage, and the composition."""

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open what `prepare` left in a folder.

        Raises:
            CorpusError: there is nothing, or it is damaged.
        """
        root = Path(folder)
        try:
            value = json.loads((root / RECORD_NAME).read_bytes())
            return cls(
                folder=root,
                train={name: root / path for name, path in value["train"].items()},
                held_out={name: root / path for name, path in value["held_out"].items()},
                ratios=value["ratios"],
                packing=value["packing"],
                seed=value["seed"],
                digest=value["digest"],
                report=value["report"],
            )
        except OSError as error:
            raise CorpusError(
                f"{root} has no prepared data ({error.strerror or error}): make it with moesaic data shards"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorpusError(f"{root / RECORD_NAME} is damaged ({error}): prepare the data again") from error

    def write(self) -> None:
        """Record it in its folder."""
        written_json(
            self.folder / RECORD_NAME,
            {
                "train": {name: str(path.relative_to(self.folder)) for name, path in self.train.items()},
                "held_out": {name: str(path.relative_to(self.folder)) for name, path in self.held_out.items()},
                "ratios": dict(self.ratios),
                "packing": self.packing,
                "seed": self.seed,
                "digest": self.digest,
                "report": dict(self.report),
            },
        )

    def mixture(
        self,
        *,
        sequence_length: int,
        rows: int,
        rank: int = 0,
        world_size: int = 1,
        ratios: Mapping[str, float] | None = None,
        verify: bool = True,
    ) -> "MixtureSource":
        """The source of training batches; see `MixtureSource`.

        Args:
            sequence_length: tokens of a row.
            rows: rows of a global batch.
            rank: number of this process.
            world_size: number of processes.
            ratios: other ratios than the recipe's, for every source that is to be mixed in.
            verify: whether to compare all shards with their digests first.

        Raises:
            CorpusError: shards are missing or damaged, or `ratios` names an unknown source.
            RecipeError: a number is out of its range.
        """
        # Imported here: it needs torch, which opening and reporting do not.
        from moesaic.training.data.mixture import Component, MixtureSource

        chosen = self.ratios if ratios is None else ratios
        for name in chosen:
            if name not in self.train:
                raise CorpusError(f"ratios names {name!r}; the sources are {', '.join(self.train)}")

        components = [
            Component(name=name, reader=ShardReader(self.train[name], verify=verify), ratio=ratio)
            for name, ratio in chosen.items()
        ]
        return MixtureSource(
            components,
            sequence_length=sequence_length,
            rows=rows,
            seed=self.seed,
            packing=self.packing,
            rank=rank,
            world_size=world_size,
        )

    def held_out_reader(self, name: str) -> ShardReader:
        """The held-out documents of a source, for `held_out_batches`.

        Raises:
            CorpusError: it has none, or its shards are damaged.
        """
        if name not in self.held_out:
            raise CorpusError(f"source {name!r} has nothing held out; these have: {', '.join(self.held_out) or 'none'}")

        return ShardReader(self.held_out[name])
