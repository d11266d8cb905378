"""Texts of the training benchmark: planted copies are as similar as they should be, distances are what they are."""

import math
import random

import pytest

from benchmarks import training_dedup, training_dsir
from benchmarks.training_texts import corpora, held_out, pieces, python_topics, units


def test_units_are_words_and_chinese_characters() -> None:
    assert units("Don't stop 合同法, v2") == ["don", "t", "stop", "合", "同", "法", "v2"]


def test_pieces_lose_nothing_but_empty_lines() -> None:
    text = "\n\n".join(f"paragraph {number} " + "x" * 90 for number in range(60))
    found = pieces(text, 500)
    assert "\n\n".join(found).split() == text.split()
    assert all(500 <= len(piece) < 700 for piece in found[:-1])


def test_a_document_is_held_out_whatever_stands_beside_it() -> None:
    documents = [f"document {number}" for number in range(2_000)]
    share = sum(held_out(document, 0.1) for document in documents) / len(documents)
    assert 0.07 < share < 0.13
    assert not any(held_out(document, 0.0) for document in documents)


def test_without_data_there_is_pythons_own_documentation() -> None:
    found = corpora(None, 50_000)
    assert set(found) == {"python reference", "docstrings"}
    assert all(20_000 < sum(len(text.encode()) for text in texts) <= 50_000 for texts in found.values())


def test_similarity_by_hand() -> None:
    assert training_dedup.similarity("a b c d e f", "a b c d e f") == 1.0
    assert training_dedup.similarity("a b c d e f", "a b c d e g") == pytest.approx(1 / 3)
    assert training_dedup.similarity("a b", "") == 0.0


def test_planted_copies_are_as_similar_as_wanted() -> None:
    documents = python_topics()[:80]
    texts, planted = training_dedup.plant("python", documents, ["before"], [], 12, seed=1)
    assert texts[: 1 + len(documents)] == ["before", *documents]
    assert len(planted) == 24
    assert sum(pair.alike for pair in planted) == 12
    assert {pair.edit for pair in planted} == {"words", "cut", "insert"}
    assert len({pair.original for pair in planted}) == 24
    for pair in planted:
        low, high = training_dedup.ALIKE if pair.alike else training_dedup.UNLIKE
        assert low <= training_dedup.similarity(texts[pair.original], texts[pair.copy]) <= high


def test_chinese_copies_too() -> None:
    chooser = random.Random(3)
    documents = ["".join(chr(chooser.randrange(0x4E00, 0x5E00)) for _ in range(300)) for _ in range(12)]
    _, planted = training_dedup.plant("zh", documents, [], [], 6, seed=0)
    assert len(planted) == 12


def test_divergence() -> None:
    assert training_dsir.divergence("aabb", "abab") == pytest.approx(0.0)
    assert training_dsir.divergence("a" * 1000, "b" * 1000) == pytest.approx(math.log(1000.5 / 0.5), rel=0.01)
    near, far = training_dsir.divergence("aab", "abb"), training_dsir.divergence("aab", "bbb")
    assert 0 < near < far
