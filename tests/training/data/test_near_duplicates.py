"""Near-duplicates are found, verified, and the longest stays; units and hashes are what they say."""

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import InputError, RecipeError
from moesaic.training.data import near_duplicates
from moesaic.training.data.grams import grams, shingles, units_of
from moesaic.training.data.minhash import MinHasher, candidate_probability, jaccard
from moesaic.training.data.near_duplicates import DedupOptions, find_near_duplicates
from tests.training.data.text_samples import changed_words, random_chinese, random_words


def true_jaccard(first: str, second: str) -> float:
    return jaccard(shingles(first), shingles(second))


@pytest.mark.parametrize(
    ("text", "count", "single"),
    [
        ("", 0, 0),
        (" \n.,!", 0, 0),
        ("One two-three, x_1", 4, 0),
        ("你好，世界", 4, 4),
        ("安装 Python3 软件包", 6, 5),
        ("𠀀x", 2, 1),
        ("naïve café", 2, 0),
    ],
)
def test_units_are_words_or_single_characters(text: str, count: int, single: int) -> None:
    units = units_of(text)
    assert (units.hashes.size, int(units.single.sum())) == (count, single)


def test_units_ignore_case_width_and_punctuation() -> None:
    assert units_of("HELLO, World").hashes.tolist() == units_of("hello world!").hashes.tolist()
    assert units_of("ＡＢＣ 你").hashes.tolist() == units_of("abc你").hashes.tolist()
    assert units_of("a, b", punctuation=True).hashes.size == 3
    assert units_of("ab").hashes.tolist() != units_of("ba").hashes.tolist()


def test_hashes_are_the_same_everywhere() -> None:
    """Recorded: shards and classifiers of one machine have to fit another."""
    assert units_of("hello 你").hashes.tolist() == [17087129923793103246, 14185349957845442633]


@given(st.lists(st.sampled_from("abcdefg你我他"), max_size=30), st.integers(1, 6))
def test_grams_are_equal_where_their_units_are(letters: list[str], size: int) -> None:
    found = grams(units_of(" ".join(letters)).hashes, size)
    expected = [tuple(letters[start : start + size]) for start in range(max(0, len(letters) - size + 1))]
    assert found.size == len(expected)
    assert len(set(found.tolist())) == len(set(expected))
    for (first, left), (second, right) in combinations(zip(found.tolist(), expected, strict=True), 2):
        assert (first == second) == (left == right)


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_jaccard_is_that_of_sets(first: set[int], second: set[int]) -> None:
    expected = len(first & second) / len(first | second) if first and second else 0.0
    arrays = [np.asarray(sorted(each), dtype=np.uint64) for each in (first, second)]
    assert jaccard(arrays[0], arrays[1]) == expected == jaccard(arrays[1], arrays[0])


def test_signatures_agree_as_often_as_sets_are_alike() -> None:
    generator = random.Random(1)
    words = random_words(generator, 400)
    texts = [" ".join(words), *(" ".join(changed_words(generator, words, share)) for share in (0.01, 0.03, 0.1, 0.3))]
    sets = [shingles(text) for text in texts]
    signatures = MinHasher(bands=256, rows=8).signatures(sets)
    for one in range(1, len(texts)):
        agreeing = float((signatures[0] == signatures[one]).mean())
        # Four standard deviations of a share of 2048 draws.
        assert agreeing == pytest.approx(jaccard(sets[0], sets[one]), abs=4 * 0.5 / 2048**0.5)


def test_signatures_do_not_depend_on_what_is_hashed_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [shingles(" ".join(random_words(random.Random(seed), 50))) for seed in range(30)]
    together = MinHasher().band_keys(sets)
    monkeypatch.setattr("moesaic.training.data.minhash._CHUNK_ELEMENTS", 64)
    assert (together == MinHasher().band_keys(sets)).all()
    alone = np.concatenate([MinHasher().band_keys([each]) for each in sets])
    assert (together == alone).all()


def test_candidates_come_as_often_as_the_formula_says() -> None:
    generator = random.Random(2)
    seen, expected = 0, 0.0
    for _ in range(300):
        words = random_words(generator, 120)
        pair = [shingles(" ".join(words)), shingles(" ".join(changed_words(generator, words, 0.03)))]
        keys = MinHasher().band_keys(pair)
        seen += bool((keys[0] == keys[1]).any())
        expected += candidate_probability(jaccard(*pair))
    assert seen == pytest.approx(expected, abs=4 * 300**0.5 / 2)


@pytest.mark.parametrize("chinese", [False, True])
def test_planted_near_duplicates_are_found_and_others_left(chinese: bool) -> None:
    """The claims `dedup_recall` and `dedup_false`: at least 0.95 at J >= 0.85, at most 0.01 at J <= 0.5."""
    generator = random.Random(3)
    texts: list[str] = []
    pairs: list[tuple[int, int]] = []
    for _ in range(250):
        size = generator.randint(60, 300)
        words = random_chinese(generator, size) if chinese else random_words(generator, size)
        gap = "" if chinese else " "
        original = len(texts)
        texts.append(gap.join(words))
        for share in (0.005, 0.01, 0.02, 0.15, 0.3):
            pairs.append((original, len(texts)))
            texts.append(gap.join(changed_words(generator, words, share)))
    found = find_near_duplicates(texts)
    near = [pair for pair in pairs if true_jaccard(texts[pair[0]], texts[pair[1]]) >= 0.85]
    assert len(near) > 200
    missed = [pair for pair in near if not any(number in found.kept_by for number in pair)]
    assert len(missed) <= 0.05 * len(near)
    false = [pair for pair in found.kept_by.items() if true_jaccard(texts[pair[0]], texts[pair[1]]) <= 0.5]
    assert false == []
    assert found.unlike > 0  # MinHash alone would have been wrong


@given(st.integers(0, 1000))
def test_what_goes_is_like_something_longer_that_stays(seed: int) -> None:
    generator = random.Random(seed)
    words = random_words(generator, 60)
    texts = [" ".join(words)]
    for _ in range(12):  # a chain of changes: its ends are no longer alike
        words = changed_words(generator, words, 0.04) + random_words(generator, generator.randint(0, 1))
        texts.append(" ".join(words))
    found = find_near_duplicates(texts)
    for gone, stays in found.kept_by.items():
        assert stays not in found.kept_by
        assert len(texts[stays]) >= len(texts[gone])
        assert found.similarity[gone] == true_jaccard(texts[gone], texts[stays]) >= 0.7


def test_a_bucket_of_many_alike_keeps_one_and_compares_few() -> None:
    generator = random.Random(4)
    words = random_words(generator, 200)
    texts = [" ".join(words)] * 400 + [" ".join(random_words(generator, 100)) for _ in range(20)]
    found = find_near_duplicates(texts)
    assert len(found.kept_by) == 399
    assert set(found.kept_by.values()) == {0}
    assert found.compared < 1000


def test_an_overfull_bucket_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one hash of one band, texts that share little meet in one bucket."""
    generator = random.Random(5)
    head = random_words(generator, 80)
    texts = [" ".join(head + random_words(generator, 20)) for _ in range(60)]
    monkeypatch.setattr(near_duplicates, "_MOST_LEADERS", 3)
    found = find_near_duplicates(texts, DedupOptions(bands=1, rows=1, threshold=0.9))
    assert found.kept_by == {}
    assert found.passed_over > 0


def test_a_small_cache_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(6)
    texts = []
    for _ in range(20):
        words = random_words(generator, 80)
        texts += [" ".join(changed_words(generator, words, 0.01)) for _ in range(4)]
    expected = find_near_duplicates(texts)
    monkeypatch.setattr(near_duplicates, "_CACHED_SHINGLES", 1)
    monkeypatch.setattr(near_duplicates, "_REMEMBERED_PAIRS", 1)
    assert find_near_duplicates(texts).kept_by == expected.kept_by != {}


def test_texts_without_words_and_short_ones() -> None:
    texts = ["", "...", "。。", "same words", "Same, words!", "one"] + [""] * 40
    found = find_near_duplicates(texts)
    assert found.kept_by == {3: 4}
    assert found.passed_over == 0
    assert find_near_duplicates([]).kept_by == {}


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    find_near_duplicates(["a"] * 300, progress=lambda done, total: told.append((done, total)))
    assert told == [(256, 300), (300, 300)]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"threshold": 0.0}, "threshold=0.0"),
        ({"threshold": 1.5}, "threshold=1.5"),
        ({"shingle_units": 0}, "shingle_units=0"),
        ({"bands": 0}, "bands=0"),
        ({"rows": 5000}, "rows=5000"),
    ],
)
def test_options_out_of_range_are_refused(changes: dict[str, int], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        DedupOptions(**changes)
    if "bands" in changes or "rows" in changes:
        with pytest.raises(InputError, match=fault):
            MinHasher(**changes)
