"""What a cosine of an embedder means: 0 for questions that nothing answers, 1 for those that something does.

Encoders use their range differently: with multilingual-e5 the nearest span to a question without an answer has 0.83,
with one 0.88; with MiniLM these are 0.3 and 0.6. For the embedders that Moesaic was calibrated with, both ends are the
means over real questions (`python -m benchmarks.calibrate_rag`).

For another embedder they are estimated, once in a process. Eight questions with their answers, of no special field, in
English and again in Chinese, show where a question lies to its own answer, and to the answers to the others; the ends
lie between these two as they do for the known embedders. Between languages such probes tell little, because what
crosses over best are names and code: there the mean of both languages is taken, which trusts the embedder rather too
little.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from moesaic.chains.rag_calibration import RagCalibration
from moesaic.retrieval import Embedder

__all__ = ["PROBES", "EmbedderScale", "Ends", "language_of", "measured_ends"]

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
"""Questions, each with its answer; the second half says the same as the first one in Chinese."""


Ends = Mapping[str, tuple[float, float]]
"""For `en` and `zh`, where question and passage are in one language, and `cross`, where they are not: two cosines, the
lower one first."""

_LATIN_WORD = re.compile(r"[A-Za-z]+")
_HAN = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, kw_only=True)
class EmbedderScale:
    """The ends of an embedder's cosines, for questions in one language."""

    language: str
    """`en` or `zh`; anything in Latin script counts as `en`."""
    ends: Ends

    def nearness(self, cosine: float, passage: str) -> float:
        """A cosine on the common scale."""
        low, high = self.ends[self.language if self.language == language_of(passage) else "cross"]
        return (cosine - low) / max(high - low, 1e-3)

    @classmethod
    def of(cls, embedder: Embedder, question: str, calibration: RagCalibration) -> Self:
        """The scale for a question; for an unknown embedder it is measured, which takes 32 embeddings."""
        ends = calibration.embedders.get(embedder.digest) or _estimated(embedder, *calibration.probe_shares)
        return cls(language=language_of(question), ends=ends)


_lock = threading.Lock()
_probed: dict[str, Ends] = {}


def _estimated(embedder: Embedder, low: float, high: float) -> Ends:
    with _lock:
        if embedder.digest not in _probed:
            _probed[embedder.digest] = measured_ends(embedder)
        probed = _probed[embedder.digest].items()
    return {name: (start + low * (end - start), start + high * (end - start)) for name, (start, end) in probed}


def measured_ends(embedder: Embedder) -> Ends:
    """Mean cosine of the probes that do not belong together, and of those that do, in each language."""
    questions, answers = zip(*PROBES, strict=True)
    cosines = embedder.embed_queries(questions) @ embedder.embed_documents(answers).T
    half = len(PROBES) // 2
    belong = np.eye(half, dtype=bool)
    parts = {"en": cosines[:half, :half], "zh": cosines[half:, half:]}
    ends = {language: (float(part[~belong].mean()), float(part[belong].mean())) for language, part in parts.items()}
    (low_en, high_en), (low_zh, high_zh) = ends.values()
    return ends | {"cross": ((low_en + low_zh) / 2, (high_en + high_zh) / 2)}


def language_of(text: str) -> str:
    """Chinese if it has more Chinese characters than Latin words, each of which is about a word."""
    return "zh" if len(_HAN.findall(text)) > len(_LATIN_WORD.findall(text)) else "en"
