"""Training data: from raw text to shards of tokens, and from shards to batches.

    from moesaic.training.data import DataConfig, PreparedData, prepare

    prepared = prepare(DataConfig.from_mapping(recipe["data"]))     # read, clean, dedup, …, shards; resumable
    source = prepared.mixture(sequence_length=512, rows=32, rank=0, world_size=1)
    batch = source.next()                                           # moesaic.training.batch.Batch
    state = source.state()                                          # JSON; source.restore(state) goes back

Or from tokens straight: `ShardWriter`, `ShardReader`, `Component` and `MixtureSource`. Single techniques stand alone:
`cleaned`, `find_near_duplicates`, `EvaluationTexts`, `mask_private_data`, `QualityClassifier`, `select_by_importance`,
`composition_of`.

Importing this package loads nothing; a name loads its module when it is first asked for. Only batches need torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from moesaic.errors import MissingDependencyError

if TYPE_CHECKING:
    from moesaic.training.data.cleaning import CleanOptions, CleanReport, cleaned
    from moesaic.training.data.composition import composition_of
    from moesaic.training.data.composition_plot import plot_composition
    from moesaic.training.data.data_config import (
        DataConfig,
        DecontaminateConfig,
        MaskConfig,
        QualityConfig,
        SelectConfig,
    )
    from moesaic.training.data.debian_packages import FetchedPackage, fetch_packages
    from moesaic.training.data.decontamination import EvaluationTexts
    from moesaic.training.data.held_out import held_out_batches
    from moesaic.training.data.importance_selection import ImportanceSelection, SelectOptions, select_by_importance
    from moesaic.training.data.mixture import Component, MixtureSource
    from moesaic.training.data.near_duplicates import DedupOptions, NearDuplicates, find_near_duplicates
    from moesaic.training.data.packing import Packing
    from moesaic.training.data.preparation import prepare, prepare_texts
    from moesaic.training.data.prepared import PreparedData
    from moesaic.training.data.private_data import mask_private_data
    from moesaic.training.data.quality_classifier import ClassifierOptions, QualityClassifier
    from moesaic.training.data.reading import ReadReport, read_source
    from moesaic.training.data.shard_reader import ShardReader
    from moesaic.training.data.shard_writer import ShardWriter
    from moesaic.training.data.source import SourceConfig
    from moesaic.training.data.text_document import TextDocument
    from moesaic.training.data.text_encoder import FolderEncoder, TextEncoder

__all__ = [
    "ClassifierOptions",
    "CleanOptions",
    "CleanReport",
    "Component",
    "DataConfig",
    "DecontaminateConfig",
    "DedupOptions",
    "EvaluationTexts",
    "FetchedPackage",
    "FolderEncoder",
    "ImportanceSelection",
    "MaskConfig",
    "MixtureSource",
    "NearDuplicates",
    "Packing",
    "PreparedData",
    "QualityClassifier",
    "QualityConfig",
    "ReadReport",
    "SelectConfig",
    "SelectOptions",
    "ShardReader",
    "ShardWriter",
    "SourceConfig",
    "TextDocument",
    "TextEncoder",
    "cleaned",
    "composition_of",
    "fetch_packages",
    "find_near_duplicates",
    "held_out_batches",
    "mask_private_data",
    "plot_composition",
    "prepare",
    "prepare_texts",
    "read_source",
    "select_by_importance",
]

_MODULES = {
    "cleaning": ("CleanOptions", "CleanReport", "cleaned"),
    "composition": ("composition_of",),
    "composition_plot": ("plot_composition",),
    "data_config": ("DataConfig", "DecontaminateConfig", "MaskConfig", "QualityConfig", "SelectConfig"),
    "debian_packages": ("FetchedPackage", "fetch_packages"),
    "decontamination": ("EvaluationTexts",),
    "held_out": ("held_out_batches",),
    "importance_selection": ("ImportanceSelection", "SelectOptions", "select_by_importance"),
    "mixture": ("Component", "MixtureSource"),
    "near_duplicates": ("DedupOptions", "NearDuplicates", "find_near_duplicates"),
    "packing": ("Packing",),
    "preparation": ("prepare", "prepare_texts"),
    "prepared": ("PreparedData",),
    "private_data": ("mask_private_data",),
    "quality_classifier": ("ClassifierOptions", "QualityClassifier"),
    "reading": ("ReadReport", "read_source"),
    "shard_reader": ("ShardReader",),
    "shard_writer": ("ShardWriter",),
    "source": ("SourceConfig",),
    "text_document": ("TextDocument",),
    "text_encoder": ("FolderEncoder", "TextEncoder"),
}


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    try:
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"training data needs {error.name}, which is not installed: pip install 'moesaic[train]'"
        ) from error

    globals()[name] = value
    return value
