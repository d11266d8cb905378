"""Spans that may be cited: exact, short enough, whole sentences where that is possible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.chains.candidate_spans import candidate_spans
from moesaic.chains.citation import MAX_QUOTE
from moesaic.retrieval import Passage


def passage(text: str, start: int = 0, document: str = "a") -> Passage:
    return Passage(
        document_id=document,
        title=document,
        heading_path=(),
        start=start,
        end=start + len(text),
        text=text,
        score=1.0,
        vector_rank=1,
        lexical_rank=1,
        vector_similarity=0.5,
        lexical_score=1.0,
    )


def texts(*given: str) -> list[str]:
    return [span.text for span in candidate_spans([passage(text, document=str(i)) for i, text in enumerate(given)])]


def test_sentences_of_a_paragraph_stay_together_and_paragraphs_do_not() -> None:
    assert texts("One is here. Two is there.\n\nThree is\nfar away.") == [
        "One is here. Two is there.",
        "Three is\nfar away.",
    ]


def test_what_says_little_alone_stays_with_what_follows() -> None:
    assert texts("str.lower()\n\n   Give small letters.\n\nFor example:\n\n   >>> 1") == [
        "str.lower()\n\n   Give small letters.",
        "For example:\n\n   >>> 1",
    ]


def test_a_group_ends_before_it_is_too_long() -> None:
    sentence = "This sentence has " + "many " * 20 + "words."
    spans = texts(" ".join([sentence] * 1) + " " + sentence.replace("This", "That") + " " + sentence.replace("T", "t"))
    assert len(spans) == 2
    assert all(span.endswith("words.") for span in spans)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("word " * 200, "word"),
        ("x" * 900, "x"),
        ("这个句子很长，" * 100, "，"),
        ("字" * 700, "字"),
    ],
)
def test_a_sentence_that_is_too_long_is_cut_where_it_hurts_least(text: str, ends: str) -> None:
    spans = candidate_spans([passage(text)])
    assert all(0 < len(span.text) <= MAX_QUOTE and span.text.endswith(ends) for span in spans)
    assert spans[0].start == 0
    assert len(spans[0].text) > MAX_QUOTE // 2


def test_the_same_words_are_one_candidate_where_they_were_ranked_best() -> None:
    spans = candidate_spans(
        [passage("Twice said.", document="a"), passage("Once.\n\nTwice\nsaid.", document="b"), passage("Once.", 5, "b")]
    )
    assert [(span.document, span.text, span.passage) for span in spans] == [("a", "Twice said.", 0), ("b", "Once.", 1)]


def test_signs_alone_are_no_candidates() -> None:
    assert texts("---- ====\n\n* * *") == []


@given(st.lists(st.text(st.sampled_from("ab 。，.\n!猫-#：\U0001f600"), max_size=700), max_size=3), st.integers(0, 50))
def test_every_span_is_exact(given: list[str], offset: int) -> None:
    documents = ["-" * offset + text for text in given]
    passages = [passage(text, offset, str(index)) for index, text in enumerate(given) if text]
    spans = candidate_spans(passages)
    for span in spans:
        assert documents[int(span.document)][span.start : span.end] == span.text
        assert 0 < len(span.text) <= MAX_QUOTE
        assert span.text == span.text.strip()
        found = passages[span.passage]
        assert found.start <= span.start < span.end <= found.end
    places = [(span.document, span.start, span.end) for span in spans]
    assert len(set(places)) == len(places)
