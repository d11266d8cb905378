"""The table `[data]` of a recipe: sources, stages, and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from moesaic.errors import RecipeError
from moesaic.training.data.cleaning import CleanOptions
from moesaic.training.data.importance_selection import SelectOptions
from moesaic.training.data.near_duplicates import DedupOptions
from moesaic.training.data.packing import PACKINGS, Packing
from moesaic.training.data.private_data import KINDS
from moesaic.training.data.quality_classifier import ClassifierOptions
from moesaic.training.data.source import SourceConfig
from moesaic.training.recipe_table import parsed_table

__all__ = ["DataConfig", "DecontaminateConfig", "MaskConfig", "QualityConfig", "SelectConfig"]


@dataclass(frozen=True, kw_only=True)
class DecontaminateConfig:
    """Leave out what a model will be evaluated with."""

    paths: tuple[str, ...]
    """Files or folders of evaluation texts."""
    text_fields: tuple[str, ...] = ("text",)
    """Fields of JSON lines that hold them, such as question and context."""


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """Replace private data by placeholders."""

    kinds: tuple[str, ...] = KINDS
    """email, id, card, ip, phone."""

    def __post_init__(self) -> None:
        """Refuse unknown kinds."""
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise RecipeError(f"kinds={self.kinds!r} must be some of {', '.join(KINDS)}")


@dataclass(frozen=True, kw_only=True)
class QualityConfig:
    """Keep what looks like curated texts, and with some luck the rest."""

    curated: tuple[str, ...]
    """Files or folders of texts of the wanted quality; or one classifier that was saved, a file ending with .npz."""
    corpora: tuple[str, ...] = ()
    """Names of the sources that are filtered; all of them if none is named."""
    pareto: float = 9.0
    """A text stays if a draw from Pareto of this shape is above 1 - score: larger is stricter."""
    most_texts: int = 20_000
    """Texts of each kind that the classifier is trained on."""
    classifier: ClassifierOptions = field(default_factory=ClassifierOptions)
    """How it is trained."""

    def __post_init__(self) -> None:
        """Refuse values that keep nothing, or everything."""
        if not 0 < self.pareto < float("inf"):
            raise RecipeError(f"pareto={self.pareto!r} must be above 0; 9 is usual")

        if self.most_texts < 10:
            raise RecipeError(f"most_texts={self.most_texts!r} must be at least 10")


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """Keep what is distributed like a target (DSIR)."""

    target: tuple[str, ...]
    """Files or folders of texts of the wanted kind."""
    corpora: tuple[str, ...] = ()
    """Names of the sources that are selected from; all of them if none is named."""
    options: SelectOptions = field(default_factory=SelectOptions)
    """How many, and how they are compared."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """From sources to shards."""

    sources: tuple[SourceConfig, ...]
    """Where the text comes from."""
    folder: Path
    """Where stages, shards and reports are kept; a run that was interrupted goes on there."""
    tokenizer: Path | None = None
    """Folder of the tokenizer; None if the caller gives one."""
    clean: CleanOptions | None = field(default_factory=CleanOptions)
    """Rules of cleaning; false for none."""
    dedup: DedupOptions | None = field(default_factory=DedupOptions)
    """Exact and near-duplicates; false keeps them. With a threshold of 1 only what has equal shingles goes."""
    decontaminate: DecontaminateConfig | None = None
    """Evaluation texts to leave out."""
    mask: MaskConfig | None = field(default_factory=MaskConfig)
    """Private data; false keeps it."""
    quality: QualityConfig | None = None
    """The quality classifier."""
    select: SelectConfig | None = None
    """Selection by importance."""
    held_out: float = 0.01
    """Share of the documents of each source that is held out for measuring: at least one document, 0 for none."""
    shard_tokens: int = 1 << 24
    """Tokens of a shard."""
    packing: Packing = "stream"
    """How documents are laid into rows: stream or best_fit."""
    seed: int = 0
    """Determines orders and draws."""

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        names = [source.name for source in self.sources]
        if not names or len(set(names)) < len(names):
            raise RecipeError(f"sources={names!r} must be at least one, with distinct names")

        ratios = [source.ratio for source in self.sources]
        if any(ratio is None for ratio in ratios) and any(ratio is not None for ratio in ratios):
            raise RecipeError(f"ratios={ratios!r} of the sources must all be given, or none of them")

        if not 0 <= self.held_out < 1:
            raise RecipeError(f"held_out={self.held_out!r} must be at least 0 and below 1; 0.01 is usual")

        if self.packing not in PACKINGS:
            raise RecipeError(f"packing={self.packing!r} must be one of {', '.join(PACKINGS)}")

        if self.shard_tokens < 1:
            raise RecipeError(f"shard_tokens={self.shard_tokens!r} must be at least 1")

        if not 0 <= self.seed < 1 << 63:
            raise RecipeError(f"seed={self.seed!r} must be 0 to {(1 << 63) - 1}")

        for stage in (self.quality, self.select):
            for name in stage.corpora if stage else ():
                if name not in names:
                    raise RecipeError(f"corpora names {name!r}, which is no source; sources are {', '.join(names)}")

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any], *, where: str = "data") -> Self:
        """The configuration of a table, as TOML gives it.

        Raises:
            RecipeError: a key is unknown or missing, or a value has the wrong type or is out of its range.
        """
        return parsed_table(cls, table, where)
