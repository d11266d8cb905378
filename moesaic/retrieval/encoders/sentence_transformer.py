"""Any sentence-transformers encoder of one transformer and one pooling, computed by plain transformers.

Reimers & Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks" (2019), section 3. How this
differs: vectors are always normalised, whether or not the folder has a Normalize module, because a knowledge base
compares by inner product.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from moesaic.errors import UnsupportedModelError
from moesaic.retrieval.embedder import Vectors
from moesaic.retrieval.encoders.encoder_folder import EncoderFolder, Pooling

__all__ = ["SentenceTransformerEncoder"]

_BATCH = 32
_DEFAULT_LENGTH = 512


class SentenceTransformerEncoder:
    """An embedder from a folder; a text is cut at the folder's `max_seq_length`.

    Args:
        folder: the sentence-transformers folder.
        name: what `load_embedder` takes to find it again.

    Raises:
        UnsupportedModelError: a part of it is not understood or unreadable.
    """

    def __init__(self, folder: Path, *, name: str) -> None:
        self.name = name
        self._folder = EncoderFolder.read(folder)
        self.digest = self._folder.digest
        try:
            # Quietly: its bars would stand between those of the caller.
            transformers_logging.disable_progress_bar()
            self._tokenizer: Any = AutoTokenizer.from_pretrained(self._folder.transformer, local_files_only=True)
            self._model: Any = AutoModel.from_pretrained(
                self._folder.transformer, local_files_only=True, dtype=torch.float32
            ).eval()
        except Exception as error:  # whatever the many architectures raise on a broken folder
            raise UnsupportedModelError(
                f"the encoder {name!r} cannot be loaded ({type(error).__name__}: {error}): fetch it again, or use "
                "another"
            ) from error

        self.dimension = int(self._model.config.hidden_size)
        self._lock = threading.Lock()  # a fast tokenizer keeps the padding of its last call

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages, [texts, dimension], after the folder's prompt for documents if it has one."""
        return self._embed([self._folder.document_prompt + text for text in texts])

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions, [texts, dimension], after the folder's prompt for queries if it has one."""
        return self._embed([self._folder.query_prompt + text for text in texts])

    def _embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts of like length together: padding is computed for nothing."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            vectors[batch] = self._embed_batch([texts[index] for index in batch])
        return vectors

    @torch.inference_mode()
    def _embed_batch(self, texts: list[str]) -> Vectors:
        cleaned = [text.encode(errors="replace").decode() for text in texts]
        if self._folder.lower_case:
            cleaned = [text.lower() for text in cleaned]
        with self._lock:
            encoded = self._tokenizer(
                cleaned,
                padding=True,
                truncation=True,
                max_length=self._folder.max_length or _DEFAULT_LENGTH,
                return_tensors="pt",
            )
        hidden = self._model(**encoded).last_hidden_state
        pooled = _pool(hidden, encoded["attention_mask"], self._folder.pooling)
        return np.asarray(torch.nn.functional.normalize(pooled, dim=-1).numpy(), dtype=np.float32)


def _pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Vectors of texts [N, D] from those of their tokens [N, T, D], where the mask [N, T] is 1."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    match pooling:
        case Pooling.CLS:
            return hidden[:, 0]
        case Pooling.MAX:
            return hidden.masked_fill(weights == 0, -torch.inf).amax(dim=1)
        case Pooling.MEAN:
            return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
