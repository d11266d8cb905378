"""Tokenizers: learn one from text, compare some, extend the vocabulary of a model.

- `train_tokenizer` learns a SentencePiece BPE vocabulary (`TokenizerConfig`, `PRESETS`) and writes a folder that
  transformers and vLLM load.
- `compare_compression` and `compare_tiny_models` compare tokenizers on held-out text.
- `extend_tokenizer` and `extend_model` add pieces that are mined from text, with embeddings to begin from.
"""

from moesaic.training.tokenizer.comparison import Compression, compare_compression, measure_compression
from moesaic.training.tokenizer.extension_config import ExtensionConfig
from moesaic.training.tokenizer.model_extension import ExtendedModel, extend_model, grown_rows
from moesaic.training.tokenizer.sentencepiece_conversion import check_equal_ids, convert_pieces
from moesaic.training.tokenizer.sentencepiece_training import learn_pieces
from moesaic.training.tokenizer.tokenizer_config import PRESETS, TokenizerConfig, tokenizer_preset
from moesaic.training.tokenizer.tokenizer_folder import TokenizerReport, train_tokenizer
from moesaic.training.tokenizer.vocabulary_extension import Extension, ExtensionReport, NewToken, extend_tokenizer

__all__ = [
    "PRESETS",
    "Compression",
    "ExtendedModel",
    "Extension",
    "ExtensionConfig",
    "ExtensionReport",
    "NewToken",
    "TokenizerConfig",
    "TokenizerReport",
    "check_equal_ids",
    "compare_compression",
    "convert_pieces",
    "extend_model",
    "extend_tokenizer",
    "grown_rows",
    "learn_pieces",
    "measure_compression",
    "tokenizer_preset",
    "train_tokenizer",
]
