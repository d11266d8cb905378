"""The examples of a recipe: read, or made out of questions and programs, and kept beside the run.

Making them can take minutes (every question is searched for), so what was made is written to `examples.jsonl`, with
`examples.json` beside it, which says from what. The same recipe reads them again; another one makes them anew.
"""

import json
import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from moesaic.chains.rag_options import RagOptions
from moesaic.errors import CorpusError, RecipeError
from moesaic.retrieval import ChunkOptions, KnowledgeBase, load_embedder, load_sources
from moesaic.training.data.durable import file_digest, made_folder, written_file, written_json
from moesaic.training.processes import Processes
from moesaic.training.tuning.conversation import Example, example_to_json, read_examples
from moesaic.training.tuning.conversation_source import ConversationSource
from moesaic.training.tuning.encoded_example import ExampleEncoder
from moesaic.training.tuning.grounded_question import read_grounded
from moesaic.training.tuning.grounded_recipe import GroundedOptions, ServedFormat, grounded_examples
from moesaic.training.tuning.program_recipe import program_examples

__all__ = [
    "EXAMPLES_NAME",
    "REPORT_NAME",
    "ExampleKind",
    "ExampleOptions",
    "PreparedExamples",
    "example_source",
    "prepared_examples",
    "write_examples",
]

EXAMPLES_NAME = "examples.jsonl"
"""The examples."""
REPORT_NAME = "examples.json"
"""What they were made of, and how many of which there are."""

_log = logging.getLogger(__name__)


class ExampleKind(StrEnum):
    """Where examples come from."""

    CONVERSATIONS = "conversations"
    """Files that hold them (`moesaic.training.tuning.conversation`)."""
    GROUNDED = "grounded"
    """Questions on texts (`moesaic.training.tuning.grounded_recipe`)."""
    PROGRAMS = "programs"
    """Problems with worked solutions, and functions (`moesaic.training.tuning.program_recipe`)."""


@dataclass(frozen=True, kw_only=True)
class ExampleOptions:
    """The `[examples]` table of a recipe.

    Raises:
        RecipeError: a value is out of its range, or belongs to another kind.
    """

    kind: ExampleKind = ExampleKind.CONVERSATIONS
    """Where they come from."""
    paths: tuple[Path, ...]
    """Files, or folders of them."""
    documents: tuple[str, ...] = ()
    """For grounded: files, folders or corpora that question files are on, as `moesaic kb add` takes them."""
    embedder: str = ""
    """For grounded, which needs it: the embedder of the base that will be served."""
    chunk_tokens: int = 300
    """For grounded: most tokens of a passage in that base."""
    formats: tuple[ServedFormat, ...] = tuple(ServedFormat)
    """For grounded: the ways in which a chain asks that are taught."""
    own_words: bool = True
    """For grounded: whether answers that are no quotes are taught, where the chain would keep them."""
    unanswerable_share: float = 0.0
    """For grounded: share of the documents that are left out, so that their questions have no answer; 0 to below 1."""
    seed: int = 0
    """Of which documents those are."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        if not self.paths:
            raise RecipeError("paths=[] names nothing: give files or folders of examples")
        if not 0 <= self.unanswerable_share < 1:
            raise RecipeError(f"unanswerable_share={self.unanswerable_share!r} must be 0 to below 1")
        grounded = self.kind == ExampleKind.GROUNDED
        if grounded and not self.embedder:
            raise RecipeError("grounded examples need embedder: name the one of the base that will be served")
        if not grounded and (self.documents or self.embedder or self.unanswerable_share):
            raise RecipeError(f"documents, embedder and unanswerable_share belong to grounded, not to {self.kind!s}")
        if self.unanswerable_share and self.documents:
            raise RecipeError("unanswerable_share leaves out documents, which the questions name themselves: drop one")


@dataclass(frozen=True, kw_only=True)
class PreparedExamples:
    """Examples that are ready to be encoded."""

    examples: tuple[Example, ...]
    report: dict[str, Any]
    """Counts of what was made and what was left out, as JSON values."""


def prepared_examples(options: ExampleOptions, folder: Path) -> PreparedExamples:
    """Read or make examples; what is made is kept in `folder`, and read from there the next time.

    Raises:
        CorpusError: the data is missing, damaged, or gives no example.
        RecipeError: the options contradict the data.
        StorageError: the disk refuses.
    """
    if options.kind == ExampleKind.CONVERSATIONS:
        found = tuple(example for path in options.paths for example in read_examples(path))
        return PreparedExamples(examples=found, report={"made": len(found), "left_out": {}})

    recipe = {"options": _plain(asdict(options)), "files": _digests(options.paths)}
    kept = _kept(folder, recipe)
    if kept is not None:
        return kept
    examples, made, left_out = _grounded(options) if options.kind == ExampleKind.GROUNDED else _programs(options)
    if not examples:
        raise CorpusError(f"no example could be made of {', '.join(map(str, options.paths))}: {left_out}")
    if left_out:
        _log.info("%d examples were made; left out were %s", len(examples), left_out)
    made_folder(folder)
    write_examples(folder / EXAMPLES_NAME, examples)
    report = {"made": made, "left_out": left_out}
    # Last: without this file, what was written before counts for nothing.
    written_json(folder / REPORT_NAME, recipe | report | {"examples": file_digest(folder / EXAMPLES_NAME)})
    return PreparedExamples(examples=tuple(examples), report=report)


def example_source(
    options: ExampleOptions,
    tokenizer: Any,
    folder: Path,
    *,
    sequence_length: int,
    rows: int,
    seed: int,
    processes: Processes,
) -> ConversationSource:
    """The batches of a recipe's examples; to be called in every process. The first one makes what must be made.

    `rows` count over all processes. Errors are those of `prepared_examples`, `ExampleEncoder` and
    `ConversationSource`.
    """
    if processes.is_first:
        prepared_examples(options, folder)
    processes.wait()
    return ConversationSource.of(
        prepared_examples(options, folder).examples,
        ExampleEncoder(tokenizer),
        sequence_length=sequence_length,
        rows=rows,
        seed=seed,
        rank=processes.rank,
        world_size=processes.size,
    )


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Write a file that `read_examples` reads, whole or not at all; raises `StorageError`."""
    with written_file(path) as file:
        for example in examples:
            file.write(json.dumps(example_to_json(example), ensure_ascii=False).encode() + b"\n")


def _grounded(options: ExampleOptions) -> tuple[Sequence[Example], dict[str, int], dict[str, int]]:
    loaded = load_sources(options.documents)
    if loaded.problems:
        raise CorpusError(f"{loaded.problems[0].path} can't be read: {loaded.problems[0].reason}")
    questions = read_grounded(options.paths, loaded.documents)
    if options.unanswerable_share:
        questions = questions.without_some(options.unanswerable_share, options.seed)
    chosen = GroundedOptions(formats=options.formats, rag=RagOptions(), own_words=options.own_words)
    with tempfile.TemporaryDirectory(prefix="moesaic-grounded-") as place:
        embedder, chunks = load_embedder(options.embedder), ChunkOptions(max_tokens=options.chunk_tokens)
        with KnowledgeBase.create(Path(place) / "base", embedder=embedder, chunks=chunks) as base:
            base.add(questions.documents)
            found = grounded_examples(base, questions.questions, chosen)
    return found.examples, dict(found.made), dict(found.left_out)


def _programs(options: ExampleOptions) -> tuple[Sequence[Example], dict[str, int], dict[str, int]]:
    found = program_examples(options.paths)
    return found.examples, {"programs": len(found.examples)}, dict(found.left_out)


def _kept(folder: Path, recipe: dict[str, Any]) -> PreparedExamples | None:
    """What was made of the same options and files before; None if there is none, or it was altered."""
    try:
        report = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
        if any(report.get(name) != value for name, value in recipe.items()):
            return None
        if report["examples"] != file_digest(folder / EXAMPLES_NAME):
            return None
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    return PreparedExamples(
        examples=tuple(read_examples(folder / EXAMPLES_NAME)),
        report={name: report[name] for name in ("made", "left_out")},
    )


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    """Of all files that the paths stand for; those that are missing are named when they are read."""
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return {str(file): file_digest(file) for file in files if file.is_file()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path | StrEnum) else value
