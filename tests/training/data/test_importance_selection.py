"""Selection finds a planted domain, lies nearer to the target than random, and stays diverse."""

import random

import numpy as np
import pytest

from moesaic.errors import CorpusError, RecipeError
from moesaic.training.data.importance_selection import SelectOptions, select_by_importance
from moesaic.training.data.ngram_distribution import buckets_of, kl_divergence, ngram_counts
from tests.training.data.text_samples import random_chinese, random_words


def planted(seed: int = 0) -> tuple[list[str], list[str]]:
    """A raw corpus whose last 60 of 300 texts are of the target's kind, and target texts."""
    generator = random.Random(seed)

    def domain() -> str:
        return " ".join(random_words(generator, 60) + random_words(generator, 60, vocabulary=200))

    raw = [" ".join(random_words(generator, 120)) for _ in range(240)] + [domain() for _ in range(60)]
    return raw, [domain() for _ in range(40)]


def test_a_planted_domain_is_found() -> None:
    raw, target = planted()
    found = select_by_importance(raw, target, SelectOptions(keep=0.2))
    assert sum(number >= 240 for number in found.chosen) >= 0.95 * 60
    assert found.kl_reduction_against_random > 0.05
    assert found.kl_selected < found.kl_random
    assert len(found.chosen) == 60


def test_a_planted_domain_is_found_in_chinese() -> None:
    generator = random.Random(1)
    head = random_chinese(generator, 40)
    raw = ["".join(random_chinese(generator, 150)) for _ in range(90)]
    raw += ["".join(random_chinese(generator, 100) + [generator.choice(head) for _ in range(50)]) for _ in range(30)]
    target = ["".join(random_chinese(generator, 100) + [generator.choice(head) for _ in range(50)]) for _ in range(20)]
    found = select_by_importance(raw, target, SelectOptions(keep=0.25))
    assert sum(number >= 90 for number in found.chosen) >= 27


def test_weights_are_the_formula() -> None:
    raw, target = ["a b", "c d c", "a"], ["a b", "a b", "a c"]
    options = SelectOptions(keep=1.0, buckets=50, longest=1, smoothing=0.5, length_neutral=False)
    found = select_by_importance(raw, target, options)
    # The first target text is held out.
    counts, q = ngram_counts(target[1:], buckets=50, longest=1), ngram_counts(raw, buckets=50, longest=1) / 6
    p = (counts + 25 * q) / (4 + 25)
    for text, weight in zip(raw, found.log_weights, strict=True):
        places = [int(buckets_of(word, buckets=50, longest=1)[0]) for word in text.split()]
        assert weight == pytest.approx(sum(np.log(p[place] / q[place]) for place in places))
    assert found.chosen == (0, 1, 2)


def test_long_and_short_documents_are_weighed_alike() -> None:
    """Where all of a corpus is less like the target than itself, sums would choose what is short."""
    generator = random.Random(2)
    raw = [" ".join(random_words(generator, size, vocabulary=300)) for size in (20, 200) for _ in range(60)]
    target = [" ".join(random_words(generator, 100, vocabulary=150)) for _ in range(30)]
    shares = [
        np.mean([number < 60 for number in select_by_importance(raw, target, options).chosen])
        for options in (SelectOptions(keep=0.5, length_neutral=False), SelectOptions(keep=0.5))
    ]
    neutral = select_by_importance(raw, target, SelectOptions()).log_weights
    assert abs(neutral[:60].mean() - neutral[60:].mean()) < neutral[:60].std()
    assert abs(shares[1] - 0.5) < 0.2 < abs(shares[0] - 0.5)


def test_the_weight_of_a_document_of_median_length_is_the_sum() -> None:
    raw, target = ["a b", "c d c e", "a"], ["a b", "a b", "a c"]
    weights = [
        select_by_importance(raw, target, SelectOptions(longest=1, length_neutral=neutral)).log_weights
        for neutral in (True, False)
    ]
    assert weights[0][0] == pytest.approx(weights[1][0])
    assert weights[0][1] == pytest.approx(weights[1][1] / 2)
    assert weights[0][2] == pytest.approx(weights[1][2] * 2)
    assert np.isfinite(select_by_importance(["", *raw], target).log_weights).all()


def test_noise_keeps_some_of_what_is_less_like_the_target() -> None:
    """Equal weights: which texts stay is left to the seed alone."""
    raw = ["alpha beta gamma"] * 50
    first, again, other = (
        select_by_importance(raw, ["alpha beta", "beta gamma"], SelectOptions(keep=0.4, seed=seed)).chosen
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(first) == 20


def test_divergence_is_zero_for_equal_and_infinite_for_none() -> None:
    p = np.asarray([0.5, 0.5, 0.0])
    assert kl_divergence(p, p) == 0
    assert kl_divergence(p, np.asarray([0.25, 0.25, 0.5])) == pytest.approx(np.log(2))


def test_the_report_is_plain_json() -> None:
    raw, target = planted()
    report = select_by_importance(raw, target, SelectOptions(keep=0.5)).to_json()
    assert report["selected"] == 150
    assert report["kl_reduction_against_random"] == pytest.approx(report["kl_random"] - report["kl_selected"])
    assert set(report) == {
        "kl_raw", "kl_selected", "kl_random", "selected", "kl_reduction", "kl_reduction_against_random",
    }  # fmt: skip


@pytest.mark.parametrize(("raw", "target"), [([], ["a b", "c d"]), (["a"], ["a b"]), (["a"], ["a", "", " "])])
def test_too_little_text_is_refused(raw: list[str], target: list[str]) -> None:
    with pytest.raises(CorpusError, match="give more"):
        select_by_importance(raw, target)


@pytest.mark.parametrize("changes", [{"keep": 0}, {"keep": 1.1}, {"buckets": 1}, {"longest": 0}, {"smoothing": 0}])
def test_options_out_of_range_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="="):
        SelectOptions(**changes)  # type: ignore[arg-type]
