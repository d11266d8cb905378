"""The classifier tells kinds of texts apart, is deterministic, and survives its file; noise keeps some of the rest."""

import random
from pathlib import Path

import numpy as np
import pytest

from moesaic.errors import CorpusError, RecipeError
from moesaic.training.data.quality_classifier import ClassifierOptions, QualityClassifier, keep_noisily
from tests.training.data.text_samples import random_chinese, random_words

OPTIONS = ClassifierOptions(buckets=1 << 12, passes=8)


def texts(seed: int, count: int, *, good: bool) -> list[str]:
    generator = random.Random(seed)
    made = []
    for number in range(count):
        words = random_words(generator, 60) + (random_words(generator, 25, vocabulary=60) if good else [])
        chinese = random_chinese(generator, 30) if number % 2 else []
        made.append(" ".join([*words, *chinese]))
    return made


@pytest.fixture(scope="module")
def trained() -> QualityClassifier:
    return QualityClassifier.train(texts(0, 120, good=True), texts(1, 120, good=False), OPTIONS)


def test_kinds_are_told_apart(trained: QualityClassifier) -> None:
    assert trained.held_out.texts == 24
    assert trained.held_out.auc > 0.95
    assert trained.held_out.log_loss < 0.5
    good = [trained.score(text) for text in texts(2, 30, good=True)]
    bad = [trained.score(text) for text in texts(3, 30, good=False)]
    assert np.mean(good) > 0.7 > 0.3 > np.mean(bad)


def test_equal_kinds_are_not_told_apart() -> None:
    """The held-out measures are honest: without a difference they show none."""
    found = QualityClassifier.train(texts(4, 200, good=True), texts(5, 200, good=True), OPTIONS).held_out
    assert 0.3 < found.auc < 0.7


def test_training_is_deterministic(trained: QualityClassifier) -> None:
    again = QualityClassifier.train(texts(0, 120, good=True), texts(1, 120, good=False), OPTIONS)
    text = texts(2, 1, good=True)[0]
    assert trained.score(text) == again.score(text)


def test_a_saved_classifier_scores_the_same(trained: QualityClassifier, tmp_path: Path) -> None:
    trained.save(tmp_path / "quality.npz")
    loaded = QualityClassifier.load(tmp_path / "quality.npz")
    assert loaded.held_out == trained.held_out
    for text in texts(2, 5, good=True):
        assert loaded.score(text) == pytest.approx(trained.score(text), abs=1e-5)


def test_what_is_no_classifier_is_refused(trained: QualityClassifier, tmp_path: Path) -> None:
    path = tmp_path / "quality.npz"
    with pytest.raises(CorpusError, match="is no quality classifier"):
        QualityClassifier.load(path)
    trained.save(path)
    for content in (b"", b"text", path.read_bytes()[:-30]):
        path.write_bytes(content)
        with pytest.raises(CorpusError, match="is no quality classifier"):
            QualityClassifier.load(path)
    np.savez(path, weights=np.zeros(3), facts=np.asarray('{"format": "other"}'))
    with pytest.raises(CorpusError, match="other"):
        QualityClassifier.load(path)


def test_noise_keeps_the_better_more_often() -> None:
    generator = np.random.default_rng(0)
    kept = {score: np.mean([keep_noisily(score, generator) for _ in range(4000)]) for score in (0.0, 0.5, 0.9, 1.0)}
    # P(Pareto(a) > x) = (1 + x)^-a for numpy's Pareto.
    for score, share in kept.items():
        assert share == pytest.approx((2 - score) ** -9.0, abs=0.03)


def test_too_few_texts_and_bad_options_are_refused() -> None:
    with pytest.raises(CorpusError, match="there are 9 curated and 20 raw"):
        QualityClassifier.train(["a"] * 9, ["b"] * 20)
    for changes in ({"buckets": 1}, {"passes": 0}, {"l2": -1.0}):
        with pytest.raises(RecipeError, match="must be"):
            ClassifierOptions(**changes)


def test_a_text_without_words_has_a_score(trained: QualityClassifier) -> None:
    assert 0 < trained.score("") < 1
