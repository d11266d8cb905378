"""A classifier of pairs as one TOML file: the texts that give the pairs, how they are made, learnt and kept.

    recipe = load_pair_recipe(Path("recipes/pairs-relevance.toml"), ['corpus.documents=["handbook"]'])
    outcome = train_pair_recipe(recipe)

It is no recipe of `moesaic train`: an encoder with a last layer of its own has no tokens to predict, no router and no
artifact to serve. Its state lies in `FOLDER.run` beside the folder to come until that is written: the same call goes on
after an interruption.
"""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moesaic.errors import InputError, RecipeError
from moesaic.retrieval import LoadProblem, load_sources
from moesaic.training.checkpoint import CheckpointStore
from moesaic.training.processes import Processes
from moesaic.training.recipe_table import parsed_table, read_table, with_settings
from moesaic.training.run_folder import RunFolder
from moesaic.training.tuning.grounded_question import read_grounded
from moesaic.training.tuning.pair_training import PairTrainingOptions, TrainedPairs, train_pairs
from moesaic.training.tuning.text_pair import (
    PairOptions,
    PairRelation,
    PairSplits,
    coherence_pairs,
    relevance_pairs,
    split_pairs,
)

__all__ = ["PairCorpus", "PairOutcome", "PairOutput", "PairRecipe", "load_pair_recipe", "train_pair_recipe"]


@dataclass(frozen=True, kw_only=True)
class PairCorpus:
    """The `[corpus]` table: what pairs are made of, and how many.

    Raises:
        RecipeError: a value is out of its range, or the tables ask for nothing.
    """

    relation: PairRelation
    """What a pair is asked about: coherence or relevance."""
    documents: tuple[str, ...] = ()
    """Files, folders or corpora, as `moesaic kb add` takes them."""
    questions: tuple[Path, ...] = ()
    """For relevance: files of questions on texts (`moesaic.training.tuning.grounded_question`)."""
    encoding: str = "utf-8"
    """Encoding of the documents."""
    most_pairs: int | None = None
    """Most pairs to learn from; the other parts shrink with them. Every pair if not given."""
    calibration: float = 0.1
    """Share of the documents that the best state is chosen and calibrated on."""
    test: float = 0.1
    """Share of the documents that quality is measured on."""

    def __post_init__(self) -> None:
        """Refuse a corpus that gives no pair."""
        if not self.documents and not self.questions:
            raise RecipeError("documents=() and questions=() give no pair: name files or folders")
        if self.questions and self.relation is not PairRelation.RELEVANCE:
            raise RecipeError(
                f"questions={[str(path) for path in self.questions]} give pairs of relevance only, here is "
                f"relation={self.relation.value!r}: leave them out"
            )
        if self.most_pairs is not None and self.most_pairs < 2:
            raise RecipeError(f"most_pairs={self.most_pairs!r} must be at least 2")

    def splits(self, options: PairOptions) -> tuple[PairSplits, tuple[LoadProblem, ...]]:
        """The pairs for the three purposes, and the files that could not be read.

        Raises:
            InputError: a source is not there.
            CorpusError: the texts give no pair, or too few for three parts.
        """
        loaded = load_sources(self.documents, encoding=self.encoding)
        if self.relation is PairRelation.COHERENCE:
            pairs = coherence_pairs(loaded.documents, options)
        else:
            asked = read_grounded(self.questions) if self.questions else None
            pairs = relevance_pairs(loaded.documents, asked, options)
        splits = split_pairs(pairs, calibration=self.calibration, test=self.test)
        return (splits if self.most_pairs is None else splits.thinned(self.most_pairs, options.seed)), loaded.problems


@dataclass(frozen=True, kw_only=True)
class PairOutput:
    """The `[output]` table."""

    folder: Path
    """Where the classifier is written, with its figures in `pairs.json`."""
    overwrite: bool = False
    """Whether a folder that is there already is replaced."""


@dataclass(frozen=True, kw_only=True)
class PairRecipe:
    """The whole file; each field is the table of that name."""

    corpus: PairCorpus
    output: PairOutput
    training: PairTrainingOptions
    pairs: PairOptions = field(default_factory=PairOptions)


@dataclass(frozen=True, kw_only=True)
class PairOutcome:
    """What a recipe came to."""

    trained: TrainedPairs
    pairs: dict[str, int]
    """Pairs by what they were used for: train, calibration and test."""
    problems: tuple[LoadProblem, ...]
    """Files that could not be read."""
    folder: Path
    """Where the classifier is."""

    def to_json(self) -> dict[str, Any]:
        """Figures and places as plain JSON values."""
        return {
            "folder": str(self.folder),
            "pairs": self.pairs,
            "problems": [problem._asdict() for problem in self.problems],
            "steps": self.trained.steps,
            "before": self.trained.before.to_json(),
            "after": self.trained.after.to_json(),
            "hard_auc": self.trained.hard_auc,
        }


def load_pair_recipe(path: Path, settings: Iterable[str] = ()) -> PairRecipe:
    """Read a recipe and apply `key=value` settings.

    Raises:
        RecipeError: it is missing or no TOML, has an unknown key, or a value out of range.
    """
    return parsed_table(PairRecipe, with_settings(read_table(path), settings))


def train_pair_recipe(recipe: PairRecipe, *, progress: Callable[[int, int, float], None] | None = None) -> PairOutcome:
    """Make the pairs, train on them, measure, and write the classifier.

    Args:
        recipe: what to do.
        progress: called after each step with the step, their number, and the loss in nats.

    Raises:
        InputError: a source or the encoder is not there, or the output is there already.
        RecipeError: an interrupted training in `FOLDER.run` had other texts or options.
        RunBusyError: another process trains there.
        CorpusError, DivergedError, DamagedRunError, StorageError: as of the steps themselves.
    """
    output = recipe.output
    if output.folder.exists() and not output.overwrite:  # said before the work, not after it
        raise InputError(f"{output.folder} is there already: choose another output.folder, or set output.overwrite")
    splits, problems = recipe.corpus.splits(recipe.pairs)
    run = RunFolder(output.folder.absolute().with_name(f"{output.folder.name}.run"))
    with run.locked():
        store = CheckpointStore(run.checkpoints, Processes(), keep=1)
        trained = train_pairs(splits, recipe.training, store=store, progress=progress)
        trained.save(output.folder, recipe.corpus.relation, recipe.training, overwrite=output.overwrite)
        shutil.rmtree(run.path, ignore_errors=True)
    return PairOutcome(
        trained=trained,
        pairs={"train": len(splits.train), "calibration": len(splits.calibration), "test": len(splits.test)},
        problems=problems,
        folder=output.folder,
    )
