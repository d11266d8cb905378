"""Pairs are what they say, no text belongs to itself, and no document is both learnt and tested."""

import math

import pytest

from moesaic.errors import CorpusError, RecipeError
from moesaic.retrieval import Document
from moesaic.retrieval.gold_span import GoldSpan
from moesaic.training.tuning.grounded_question import GroundedQuestion, GroundedSet
from moesaic.training.tuning.text_pair import (
    PairOptions,
    TextPair,
    coherence_pairs,
    relevance_pairs,
    split_pairs,
)
from tests.retrieval.documents import markdown

OPTIONS = PairOptions(passage_tokens=16)


def paragraphs(name: str, count: int) -> Document:
    text = "\n\n".join(f"Paragraph {number} of {name} tells about thing {number} of {name}." for number in range(count))
    return Document(id=name, title=name, text=text)


def test_what_follows_belongs_and_what_does_not_is_far_or_elsewhere() -> None:
    documents = [paragraphs("one", 6), paragraphs("two", 5), paragraphs("three", 1)]
    pairs = coherence_pairs(documents, OPTIONS)
    places = {text: (doc.id, place) for doc in documents for place, text in enumerate(doc.text.split("\n\n"))}
    assert sum(pair.belongs for pair in pairs) == 5 + 4
    for pair in pairs:
        (first, at), (second, found) = places[pair.first], places[pair.second]
        assert first == pair.document
        if pair.belongs:
            assert (second, found) == (first, at + 1)
        elif pair.hard:
            assert second == first
            assert abs(found - at) > 1
        else:
            assert second != first
    assert sum(pair.hard for pair in pairs) == 9
    assert coherence_pairs(documents, OPTIONS) == pairs
    other = coherence_pairs(documents, PairOptions(passage_tokens=16, seed=1))
    assert [pair for pair in other if pair.belongs] == [pair for pair in pairs if pair.belongs]
    assert other != pairs


def test_shares_of_hard_and_easy() -> None:
    documents = [paragraphs("one", 9), paragraphs("two", 9)]
    pairs = coherence_pairs(documents, PairOptions(passage_tokens=16, hard=2, easy=0))
    assert sum(pair.hard for pair in pairs) == 2 * sum(pair.belongs for pair in pairs)
    assert all(pair.belongs or pair.hard for pair in pairs)
    with pytest.raises(RecipeError, match="at least one pair that does not belong"):
        PairOptions(hard=0, easy=0)
    with pytest.raises(RecipeError, match="passage_tokens=8 must be 16 to 512"):
        PairOptions(passage_tokens=8)


def test_headings_belong_to_their_passages_and_are_not_in_them() -> None:
    text = "# Pump\n\nIt moves water.\n\n## Valve\n\nIt holds water back.\n\n## Motor\n\nIt turns the wheel."
    pairs = relevance_pairs([markdown(text), paragraphs("other", 3)], options=OPTIONS)
    belonging = {(pair.first, pair.second) for pair in pairs if pair.belongs}
    assert belonging == {
        ("Pump", "It moves water."),
        ("Pump > Valve", "It holds water back."),
        ("Pump > Motor", "It turns the wheel."),
    }
    hard = [pair for pair in pairs if pair.hard]
    # What stands below "Pump > Valve" is about "Pump" too: that is no counterexample.
    assert {pair.first for pair in hard} == {"Pump > Valve", "Pump > Motor"}
    assert not {(pair.first, pair.second) for pair in hard} & belonging
    assert any("other" in pair.second for pair in pairs)


def test_a_heading_belongs_to_the_beginning_of_its_section_alone() -> None:
    more = "\n\n".join(
        f"Thing {number} has nothing to do with what stands above it, or so it seems." for number in range(5)
    )
    text = f"# Pump\n\nIt moves water.\n\n{more}\n\n# Motor\n\nIt turns the wheel."
    pairs = relevance_pairs([markdown(text), markdown(text, "other.md")], options=OPTIONS)
    belonging = {(pair.first, pair.second) for pair in pairs if pair.belongs}
    assert belonging == {("Pump", "It moves water."), ("Motor", "It turns the wheel.")}
    # What follows is no counterexample to "Pump" either, but it is one to "Motor".
    assert {pair.second for pair in pairs if not pair.belongs and pair.first == "Pump"} == {"It turns the wheel."}
    assert all(not pair.second.startswith("Thing") or pair.first == "Motor" for pair in pairs)


def test_a_heading_that_another_document_has_too_gives_no_counterexample() -> None:
    documents = [markdown(f"# Valve\n\nIt holds water back {number}.", f"d{number}") for number in range(5)]
    assert all(pair.belongs for pair in relevance_pairs(documents, options=OPTIONS))
    pairs = relevance_pairs([*documents, markdown("# Motor\n\nIt turns the wheel.", "m")], options=OPTIONS)
    wrong = {(pair.first, pair.second) for pair in pairs if not pair.belongs}
    assert all((first == "Motor") != (second == "It turns the wheel.") for first, second in wrong)
    assert ("Motor", "It turns the wheel.") not in wrong
    assert wrong


def test_underlined_headings_are_taken_off_too() -> None:
    text = "Install\n=======\n\nUse the package.\n\nRun\n===\n\nStart the server."
    from moesaic.retrieval.outline import sections_of, underlined_headings

    document = Document(id="d", title="d", text=text, sections=sections_of(text, underlined_headings(text)))
    seconds = {pair.second for pair in relevance_pairs([document], options=OPTIONS)}
    assert seconds == {"Use the package.", "Start the server."}


def test_questions_belong_to_the_passage_that_answers() -> None:
    document = paragraphs("one", 8)
    quote = "thing 3 of one"
    start = document.text.index(quote)
    questions = GroundedSet(
        documents=(document, paragraphs("two", 4)),
        questions=(
            GroundedQuestion(text="What is told of 3?", gold=(GoldSpan("one", start, start + len(quote)),)),
            GroundedQuestion(text="What is told of 99?"),
        ),
    )
    pairs = relevance_pairs([], questions, OPTIONS)
    assert [(pair.first, quote in pair.second) for pair in pairs if pair.belongs] == [("What is told of 3?", True)]
    assert len(pairs) == 3
    assert not any(quote in pair.second for pair in pairs if not pair.belongs)


def test_a_text_that_stands_twice_is_no_counterexample() -> None:
    same = "The same words stand here again and again for ever."
    document = Document(id="d", title="d", text="\n\n".join([same] * 6))
    pairs = coherence_pairs([document, Document(id="e", title="e", text="\n\n".join([same] * 6))], OPTIONS)
    assert all(pair.belongs for pair in pairs)


def test_texts_that_give_no_pair_are_refused() -> None:
    with pytest.raises(CorpusError, match="none of 1 documents has two passages"):
        coherence_pairs([paragraphs("one", 1)], OPTIONS)
    with pytest.raises(CorpusError, match="none of 1 documents has a heading"):
        relevance_pairs([paragraphs("one", 4)], options=OPTIONS)


def test_documents_are_divided_whole() -> None:
    documents = [paragraphs(f"number {number}", 5) for number in range(60)]
    pairs = coherence_pairs(documents, OPTIONS)
    splits = split_pairs(pairs, calibration=0.2, test=0.2)
    parts = [splits.train, splits.calibration, splits.test]
    names = [{pair.document for pair in part} for part in parts]
    assert sum(len(part) for part in parts) == len(pairs)
    assert not names[0] & names[1]
    assert not (names[0] | names[1]) & names[2]
    assert all(len(part) > 0.1 * len(pairs) for part in parts)
    assert split_pairs(reversed(pairs), calibration=0.2, test=0.2).test == tuple(reversed(splits.test))
    with pytest.raises(RecipeError, match="together below 1"):
        split_pairs(pairs, calibration=0.5, test=0.5)
    one = [TextPair(first="a", second="b", belongs=True, document="x")]
    with pytest.raises(CorpusError, match="the train part has"):
        split_pairs(one)


def test_parts_are_thinned_alike() -> None:
    pairs = coherence_pairs([paragraphs(f"number {number}", 5) for number in range(60)], OPTIONS)
    splits = split_pairs(pairs, calibration=0.2, test=0.2)
    thin = splits.thinned(100, seed=0)
    assert len(thin.train) == 100
    for whole, part in ((splits.calibration, thin.calibration), (splits.test, thin.test)):
        assert len(part) == math.ceil(len(whole) * 100 / len(splits.train))
        assert set(part) <= set(whole)
    assert splits.thinned(100, seed=0) == thin != splits.thinned(100, seed=1)
    assert splits.thinned(10_000, seed=0) == splits
    with pytest.raises(CorpusError, match="the calibration part has 2 pairs of one kind"):
        splits.thinned(2, seed=0)
