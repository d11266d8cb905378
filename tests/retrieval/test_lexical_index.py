"""BM25 against its formula."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.retrieval.lexical_index import LexicalIndex
from moesaic.retrieval.lexical_tokens import lexical_tokens

TEXTS = st.lists(st.lists(st.sampled_from(["ant", "bee", "cat", "dog", "eel"]), max_size=8).map(" ".join), max_size=6)


def formula(texts: list[str], query: str) -> list[float]:
    """BM25 with Lucene's inverse document frequency, term by term."""
    documents = [Counter(lexical_tokens(text)) for text in texts]
    lengths = [document.total() for document in documents]
    average = sum(lengths) / len(texts)
    scores = []
    for document, length in zip(documents, lengths, strict=True):
        score = 0.0
        for term in lexical_tokens(query):
            holders = sum(term in other for other in documents)
            idf = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
            score += idf * document[term] / (document[term] + 1.5 * (1 - 0.75 + 0.75 * length / average))
        scores.append(score)
    return scores


@given(TEXTS.filter(any), st.sampled_from(["ant", "bee cat", "dog dog eel", "fox", "fox ant", ""]))
def test_scores_are_those_of_the_formula(texts: list[str], query: str) -> None:
    assert LexicalIndex.build(texts).scores(query).tolist() == pytest.approx(formula(texts, query), abs=1e-5)


@pytest.mark.parametrize("texts", [[], [""], ["?!", "。"], ["one two", "", "two 三三"]])
def test_an_index_comes_back_from_its_files(tmp_path: Path, texts: list[str]) -> None:
    index = LexicalIndex.build(texts)
    index.save(tmp_path / "lexical")
    again = LexicalIndex.load(tmp_path / "lexical", len(texts))
    for query in ("two", "三三", "nothing"):
        assert np.array_equal(again.scores(query), index.scores(query))
        assert len(index.scores(query)) == len(texts)


def test_an_index_of_another_size_is_refused(tmp_path: Path) -> None:
    LexicalIndex.build(["one", "two"]).save(tmp_path / "lexical")
    with pytest.raises(ValueError, match="2 texts instead of 3"):
        LexicalIndex.load(tmp_path / "lexical", 3)
