"""`Gate`: whether a new version may take the place of the served one, by the same measures of both.

Both are measured as they would be served: with rounded weights and, where the kernels round them, rounded inputs
(`moesaic.model.canary.served_logprobs`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from moesaic.artifact import ModelArtifact
from moesaic.errors import CorpusError, RecipeError
from moesaic.model.canary import served_logprobs
from moesaic.model.tokenizer_files import load_tokenizer
from moesaic.training.evaluation import held_out_rows
from moesaic.training.refresh.choice_question import choice_sequences, read_choice_questions, share_right
from moesaic.training.text_source import TextConfig, read_documents

__all__ = ["Comparison", "Gate", "GateConfig"]


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """The `[gate]` table of a refresh."""

    texts: dict[str, Path] = field(default_factory=dict)
    """Held-out text by name: a file, or a folder of .txt and .md files."""
    max_change: dict[str, float] = field(default_factory=dict)
    """Largest change of a text's bits per byte that passes, as a share of the served version's: 0.01 lets it get worse
    by 1%, -0.02 wants it better by 2%. Texts that are not named here may get worse by `default_max_change`."""
    default_max_change: float = 0.01
    """See `max_change`."""
    questions: dict[str, Path] = field(default_factory=dict)
    """Files of questions with choices, by name (`moesaic.training.refresh.choice_question`)."""
    max_loss: dict[str, float] = field(default_factory=dict)
    """Largest loss of the share of right answers that passes, by name; 0 for those that are not named."""
    max_bytes: int = 100_000
    """Bytes of each text that are used, from its beginning."""
    row_tokens: int = 512
    """Tokens of a row; at most the model's context."""

    def __post_init__(self) -> None:
        """Refuse a gate that measures nothing, and limits for what is not measured."""
        if not self.texts and not self.questions:
            raise RecipeError("texts={} and questions={} measure nothing: name at least one held-out text")
        for name, limits, known in (
            ("max_change", self.max_change, self.texts),
            ("max_loss", self.max_loss, self.questions),
        ):
            if unknown := sorted(limits.keys() - known.keys()):
                raise RecipeError(f"{name} has {unknown}, which nothing measures; known are {sorted(known)}")
        if self.max_bytes < 1 or self.row_tokens < 2:
            raise RecipeError(
                f"max_bytes={self.max_bytes!r} must be at least 1, row_tokens={self.row_tokens!r} at least 2"
            )
        if any(not 0 <= loss <= 1 for loss in self.max_loss.values()):
            raise RecipeError(f"max_loss={self.max_loss!r} must hold shares from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One figure of both versions."""

    name: str
    """Of the text or the questions."""
    measure: str
    """`bits per byte` (less is better) or `share right` (more is better)."""
    served: float
    """Of the version that is served."""
    candidate: float
    """Of the new one."""
    limit: float
    """The worst figure of the candidate that passes."""

    @property
    def passes(self) -> bool:
        """Whether the candidate's figure is no worse than the limit; one that is not a number never is."""
        return self.candidate <= self.limit if self.measure == "bits per byte" else self.candidate >= self.limit

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "name": self.name,
            "measure": self.measure,
            "served": self.served,
            "candidate": self.candidate,
            "limit": self.limit,
            "passes": self.passes,
        }

    def __str__(self) -> str:
        sign = "≤" if self.measure == "bits per byte" else "≥"
        return f"{self.name}: {self.measure} {self.served:.4f} → {self.candidate:.4f} (must be {sign} {self.limit:.4f})"


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many of its steps are done, and how many there are."""


class Gate:
    """Measures versions and compares them. Texts and questions are read again for each: tokenizers may differ."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config

    def check_sources(self) -> None:
        """Read every text and every file of questions once: what is missing is to be told before hours of training.

        Raises:
            CorpusError: a text or a file of questions is missing, empty or unreadable; its name in the gate is told.
        """
        for table, sources, read in (
            ("texts", self._config.texts, lambda path: read_documents(TextConfig(paths=(path,)))),
            ("questions", self._config.questions, read_choice_questions),
        ):
            for name, path in sources.items():
                try:
                    read(path)
                except CorpusError as error:
                    raise CorpusError(f"gate.{table}.{name}: {error}") from error

    def compare(self, served: ModelArtifact, candidate: ModelArtifact, progress: Progress) -> list[Comparison]:
        """Measure both.

        Raises:
            CorpusError: a text or a file of questions is missing, empty or unreadable.
        """
        config = self._config
        before, after = (
            self._figures(served, "served version", progress),
            self._figures(candidate, "candidate", progress),
        )
        compared = []
        for name in config.texts:
            limit = before[name] * (1 + config.max_change.get(name, config.default_max_change))
            compared.append(_compared(name, "bits per byte", before[name], after[name], limit))
        for name in config.questions:
            limit = before[name] - config.max_loss.get(name, 0.0)
            compared.append(_compared(name, "share right", before[name], after[name], limit))
        return compared

    def _figures(self, artifact: ModelArtifact, what: str, progress: Progress) -> dict[str, float]:
        tokenizer = load_tokenizer(artifact.folder)
        longest = min(self._config.row_tokens, artifact.manifest.architecture.context_length)
        total = len(self._config.texts) + len(self._config.questions)
        figures: dict[str, float] = {}
        for name, path in self._config.texts.items():
            progress(f"measure the {what}", len(figures), total)
            figures[name] = self._text_figure(artifact, tokenizer, path, longest)
        for name, path in self._config.questions.items():
            progress(f"measure the {what}", len(figures), total)
            figures[name] = _question_figure(artifact, tokenizer, path, artifact.manifest.architecture.context_length)
        progress(f"measure the {what}", total, total)
        return figures

    def _text_figure(
        self, artifact: ModelArtifact, tokenizer: PreTrainedTokenizerFast, path: Path, longest: int
    ) -> float:
        """Bits per byte of a held-out text."""
        documents = read_documents(TextConfig(paths=(path,)))
        rows, text_bytes = held_out_rows(documents, tokenizer, length=longest, max_bytes=self._config.max_bytes)
        nats = -math.fsum(math.fsum(row) for row in served_logprobs(artifact.folder, rows))
        return nats / math.log(2) / text_bytes


def _question_figure(artifact: ModelArtifact, tokenizer: PreTrainedTokenizerFast, path: Path, longest: int) -> float:
    questions = read_choice_questions(path)
    asked = [choice_sequences(question, _encoder(tokenizer), longest=longest) for question in questions]
    flat = [pair for pairs in asked for pair in pairs]
    rows = iter(served_logprobs(artifact.folder, [tokens for tokens, _ in flat]))
    scores = [[sum(next(rows)[begin - 1 :]) for _, begin in pairs] for pairs in asked]
    return share_right(questions, scores)


def _encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[str], list[int]]:
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False))


def _compared(name: str, measure: str, served: float, candidate: float, limit: float) -> Comparison:
    return Comparison(name=name, measure=measure, served=served, candidate=candidate, limit=limit)
