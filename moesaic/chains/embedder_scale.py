"""What a cosine of an embedder means: where unrelated texts lie, and where a question lies to its answer.

Encoders use their range differently: with multilingual-e5 unrelated texts have 0.75 and answers 0.9, with MiniLM it is
0 and 0.7. Sixteen questions with their answers, English and Chinese, of no special field, show both ends: each question
with its own answer, and with the answers to the others. For the embedders that Moesaic was calibrated with the ends are
known; for another one they are measured once in a process.
"""

import threading
from dataclasses import dataclass
from typing import Self

import numpy as np

from moesaic.chains.rag_calibration import RagCalibration
from moesaic.retrieval import Embedder

__all__ = ["PROBES", "EmbedderScale", "measured_ends"]

PROBES = (
    ("How long does rice take to cook?", "White rice is done after about eighteen minutes over low heat."),
    ("Who painted the ceiling of the chapel?", "The ceiling of the chapel was painted by Michelangelo."),
    ("When does the last train to the airport leave?", "The last train to the airport leaves at 23:40."),
    ("How often should I water an orchid?", "Orchids need water once a week, and less of it in winter."),
    ("Why do cats purr?", "Cats purr when they are content, and also to calm themselves when they are hurt."),
    ("Which planet has the most moons?", "Saturn has more known moons than any other planet."),
    ("What is the fine for parking on a pavement?", "Whoever parks on a pavement pays a fine of 55 euros."),
    ("How is cheese made?", "Cheese is made from milk that is curdled, pressed and left to ripen."),
    ("米饭要煮多长时间?", "白米饭用小火煮十八分钟左右就熟了。"),
    ("教堂的壁画是谁画的?", "这座教堂的壁画是米开朗琪罗画的。"),
    ("去机场的末班车几点开?", "开往机场的末班车在二十三点四十分发车。"),
    ("兰花应该多久浇一次水?", "兰花每周浇一次水,冬天要浇得更少。"),
    ("猫为什么会打呼噜?", "猫在舒服的时候会打呼噜,受伤时也用呼噜安慰自己。"),
    ("哪颗行星的卫星最多?", "土星已知的卫星比其他任何行星都多。"),
    ("在人行道上停车罚多少钱?", "在人行道上停车的,处以五十五欧元罚款。"),
    ("奶酪是怎样做成的?", "奶酪是把牛奶凝固、压实再发酵成熟而做成的。"),
)
"""Questions, each with its answer."""


@dataclass(frozen=True, kw_only=True)
class EmbedderScale:
    """The two ends of an embedder's cosines."""

    unrelated: float
    """Mean cosine of a question to the answers of other questions in its language."""
    related: float
    """Mean cosine of a question to its own answer."""

    def __call__(self, cosine: float) -> float:
        """A cosine on the common scale: 0 for unrelated texts, 1 for a question and its answer."""
        return (cosine - self.unrelated) / max(self.related - self.unrelated, 1e-3)

    @classmethod
    def of(cls, embedder: Embedder) -> Self:
        """The scale of an embedder; of an unknown one it is measured, which takes 32 embeddings."""
        with _lock:
            if embedder.digest not in _scales:
                known = RagCalibration.load().embedders.get(embedder.digest)
                _scales[embedder.digest] = known or measured_ends(embedder)
            unrelated, related = _scales[embedder.digest]
        return cls(unrelated=unrelated, related=related)


_lock = threading.Lock()
_scales: dict[str, tuple[float, float]] = {}


def measured_ends(embedder: Embedder) -> tuple[float, float]:
    """Mean cosine of the probes that do not belong together, and of those that do."""
    questions, answers = zip(*PROBES, strict=True)
    cosines = embedder.embed_queries(questions) @ embedder.embed_documents(answers).T
    half = len(PROBES) // 2
    same_language = np.kron(np.eye(2), np.ones((half, half))).astype(bool)
    belong = np.eye(len(PROBES), dtype=bool)
    return float(cosines[same_language & ~belong].mean()), float(cosines[belong].mean())
