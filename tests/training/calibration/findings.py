"""Made questions with known rules of what answers them."""

import numpy as np

from moesaic.training.calibration import Finding

__all__ = ["made_findings"]

_SPANS = 5


def made_findings(count: int, *, nats: float = 4.0, seed: int = 7) -> list[Finding]:
    """Half of them answerable: the right span is likelier by `nats` and nearer by 1; the rest is noise.

    Every other pair of questions is in Chinese, on a scale that is narrower.
    """
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        right, answerable = int(rng.integers(_SPANS)), number % 2 == 0
        spans = []
        for index in range(_SPANS):
            names = ("similarity", "passage_similarity", "coverage", "reciprocal_rank", "likelihood")
            features = {name: float(rng.normal()) for name in names}
            features["likelihood"] += nats * (index == right) * answerable
            features["similarity"] += 1.0 * answerable
            if number % 4 >= 2:
                features["similarity"] = 0.5 + 0.25 * features["similarity"]
            spans.append(features)
        made.append(
            Finding(
                question=str(number),
                embedder="digest",
                ends=(0.0, 1.0),
                language="en" if number % 4 < 2 else "zh",
                answerable=answerable,
                absent_share=float(rng.random()) * (1 - 0.5 * answerable),
                spans=tuple(spans),
                found=tuple(index == right and answerable for index in range(_SPANS)),
            )
        )
    return made
