"""Two embedders as one: a multilingual one for every text, and a second one for texts in Latin script alone.

A small multilingual encoder knows many languages and each of them less well; an English one of the same size ranks
English better and turns anything else into noise. Both vectors stand side by side, so that one inner product is the
mean of the two similarities where question and passage are in Latin script, and a share of the multilingual one
elsewhere.

Whether a text is in Latin script is counted: words of Latin letters against Chinese, Japanese and Korean characters,
each of which is about a word. A passage in another script has a number of its own in the place of the second vector,
which meets a zero in every question: so all vectors have length 1, and no passage is preferred for lacking a part.
"""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from moesaic.retrieval.embedder import Embedder, Vectors

__all__ = ["BlendedEmbedder"]

_VERSION = "1"
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ɏ]+")
_OTHER_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_a-zA-ZÀ-ɏ\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
_HALF = np.float32(0.5**0.5)


class BlendedEmbedder:
    """The embedder `FIRST+SECOND`.

    Args:
        multilingual: used for every text.
        latin: used for texts in Latin script.
    """

    def __init__(self, multilingual: Embedder, latin: Embedder) -> None:
        self._multilingual = multilingual
        self._latin = latin
        self.name = f"{multilingual.name}+{latin.name}"
        self.dimension = multilingual.dimension + latin.dimension + 1
        parts = f"blend {_VERSION} {multilingual.digest} {latin.digest}"
        self.digest = hashlib.sha256(parts.encode()).hexdigest()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages, [texts, dimension]."""
        is_latin = _are_latin(texts)
        chosen = [text for text, latin in zip(texts, is_latin, strict=True) if latin]
        vectors = self._joined(self._multilingual.embed_documents(texts), is_latin, self._latin.embed_documents(chosen))
        vectors *= _HALF
        vectors[~is_latin, -1] = _HALF
        return vectors

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions, [texts, dimension]."""
        is_latin = _are_latin(texts)
        chosen = [text for text, latin in zip(texts, is_latin, strict=True) if latin]
        vectors = self._joined(self._multilingual.embed_queries(texts), is_latin, self._latin.embed_queries(chosen))
        vectors[is_latin] *= _HALF
        return vectors

    def _joined(self, multilingual: Vectors, is_latin: NDArray[np.bool_], latin: Vectors) -> Vectors:
        joined = np.zeros((len(multilingual), self.dimension), dtype=np.float32)
        border = self._multilingual.dimension
        joined[:, :border] = multilingual
        joined[is_latin, border:-1] = latin
        return joined


def _are_latin(texts: Sequence[str]) -> NDArray[np.bool_]:
    counts = [(len(_LATIN_WORD.findall(text)), len(_OTHER_WORD.findall(text))) for text in texts]
    return np.asarray([latin > other for latin, other in counts], dtype=np.bool_)
