"""The data of a recipe: `[text]` files as they are, `[data]` to prepare, `[prepared]` data, or `[examples]` to tune on.

Whichever it is, the rows of a step are the same for any number of processes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerFast

from moesaic.errors import RecipeError, TokenizerError
from moesaic.training.batch import BatchSource
from moesaic.training.data.data_config import DataConfig
from moesaic.training.data.preparation import prepare
from moesaic.training.data.prepared import PreparedData
from moesaic.training.data.shard_reader import ShardReader
from moesaic.training.data.text_encoder import FolderEncoder
from moesaic.training.processes import Processes
from moesaic.training.run_folder import RunFolder
from moesaic.training.text_source import TextConfig, TextSource, read_documents
from moesaic.training.tuning.conversation_source import ConversationSource
from moesaic.training.tuning.encoded_example import ExampleEncoder
from moesaic.training.tuning.example_recipe import ExampleOptions, prepared_examples

__all__ = ["DataSource", "PreparedConfig", "Slice", "data_source"]


@dataclass(frozen=True, kw_only=True)
class PreparedConfig:
    """The `[prepared]` table of a recipe: data that `moesaic data shards` or another run prepared."""

    folder: Path
    """Folder of the prepared data."""
    ratios: dict[str, float] | None = None
    """Share of the rows of every batch by source, in proportion; those of the preparation if not given."""

    def __post_init__(self) -> None:
        """Refuse a mixture of nothing."""
        if self.ratios is not None and not self.ratios:
            raise RecipeError("ratios is empty: name at least one source, or leave ratios out")


class Slice(NamedTuple):
    """Which part of the data a process takes, and in which portions."""

    sequence_length: int
    """Tokens of a row."""
    rows: int
    """Rows over all processes."""
    seed: int
    """Of the order of `[text]`; prepared data has its own."""
    processes: Processes
    """Who shares the rows."""


class DataSource(NamedTuple):
    """Training data, and what was held out of it."""

    batches: BatchSource
    held_out: dict[str, ShardReader]
    """Held-out shards by source."""


def data_source(
    table: TextConfig | DataConfig | PreparedConfig | ExampleOptions,
    tokenizer: PreTrainedTokenizerFast,
    folder: RunFolder,
    part: Slice,
    progress: Callable[[str, int, int], None],
) -> DataSource:
    """Open, or make, the data of a recipe; to be called in every process.

    Raises:
        CorpusError: it is missing, empty or damaged.
        TokenizerError: it was tokenized with another tokenizer than the model's.
    """
    sharing = {"rank": part.processes.rank, "world_size": part.processes.size}
    if isinstance(table, TextConfig):
        texts = read_documents(table)
        options = {"sequence_length": part.sequence_length, "rows": part.rows, "seed": part.seed}
        return DataSource(TextSource.of(texts, tokenizer, **options, **sharing), {})
    if isinstance(table, ExampleOptions):
        return DataSource(_conversations(table, tokenizer, folder, part), {})
    if isinstance(table, DataConfig):
        if part.processes.is_first:
            prepare(table, tokenizer=FolderEncoder(table.tokenizer or folder.start), progress=progress)
        part.processes.wait()
        prepared, ratios = PreparedData.open(table.folder), None
    else:
        prepared, ratios = PreparedData.open(table.folder), table.ratios
    mixture = prepared.mixture(
        sequence_length=part.sequence_length, rows=part.rows, ratios=ratios, **sharing, verify=part.processes.is_first
    )
    for component in mixture.components:
        _check_tokenizer(component.name, component.reader, tokenizer)
    return DataSource(mixture, {name: prepared.held_out_reader(name) for name in prepared.held_out})


def _conversations(
    table: ExampleOptions, tokenizer: PreTrainedTokenizerFast, folder: RunFolder, part: Slice
) -> ConversationSource:
    """Examples, read or made; the first process makes them, the others read what it kept."""
    place = folder.path / "examples"
    if part.processes.is_first:
        prepared_examples(table, place)
    part.processes.wait()
    return ConversationSource.of(
        prepared_examples(table, place).examples,
        ExampleEncoder(tokenizer),
        rows=part.rows,
        sequence_length=part.sequence_length,
        seed=part.seed,
        rank=part.processes.rank,
        world_size=part.processes.size,
    )


def _check_tokenizer(name: str, reader: ShardReader, tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = max(tokenizer.get_vocab().values(), default=-1) + 1
    if reader.index.eos_token_id != tokenizer.eos_token_id or reader.index.vocab_size > tokens:
        raise TokenizerError(
            f"the data of {name!r} was tokenized with {reader.index.vocab_size} tokens and "
            f"{reader.index.eos_token_id} as their end, the model's tokenizer has {tokens} and "
            f"{tokenizer.eos_token_id}: prepare the data with the model's own tokenizer"
        )
