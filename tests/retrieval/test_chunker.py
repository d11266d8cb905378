"""Chunks follow the structure, keep to their budget, and lose nothing."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import InputError
from moesaic.retrieval import Chunk, ChunkOptions, chunk_document
from moesaic.retrieval.token_estimate import estimated_tokens
from tests.retrieval.documents import markdown, markdown_texts, words_of


def chunks(text: str, max_tokens: int, overlap_tokens: int = 0) -> list[str]:
    options = ChunkOptions(max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    return [text[chunk.start : chunk.end] for chunk in chunk_document(markdown(text), options)]


def test_what_fits_is_one_chunk() -> None:
    assert chunks("# One\n\nText.\n\nMore.", 50) == ["# One\n\nText.\n\nMore."]


def test_no_chunk_crosses_a_section() -> None:
    text = "# One\n\nText.\n\n## Two\n\nMore."
    found = chunk_document(markdown(text))
    assert [(chunk.heading_path, text[chunk.start : chunk.end]) for chunk in found] == [
        (("One",), "# One\n\nText."),
        (("One", "Two"), "## Two\n\nMore."),
    ]


def test_paragraphs_stay_whole_and_large_ones_are_divided_at_sentences() -> None:
    small, large = "Just a few words here.", " ".join(f"Sentence number {number} has words." for number in range(6))
    assert chunks(f"{small}\n\n{small}\n\n{small}\n\n{large}", 21) == [
        f"{small}\n\n{small}\n\n{small}",
        "Sentence number 0 has words. Sentence number 1 has words. Sentence number 2 has words.",
        "Sentence number 3 has words. Sentence number 4 has words. Sentence number 5 has words.",
    ]


def test_code_lists_and_tables_stay_whole_when_they_fit() -> None:
    code = "```python\nx = 1\n\n# no heading\ny = 2\n```"
    items = "- one thing\n  goes on\n- another thing"
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    assert chunks(f"Some words before it.\n\n{code}\n\n{items}\n\n{table}", 20) == [
        "Some words before it.",
        code,
        items,
        table,
    ]


def test_a_list_that_is_too_large_is_divided_at_items() -> None:
    items = [f"- item {number} with four words" for number in range(6)]
    assert chunks("\n".join(items), 16) == ["\n".join(items[start : start + 2]) for start in (0, 2, 4)]


def test_a_word_without_end_is_broken() -> None:
    found = chunks("x" * 1000, 16)
    assert "".join(found) == "x" * 1000
    assert max(map(len, found)) == 16 * 6


def test_chinese_is_divided_at_its_sentences() -> None:
    text = "今天天气很好。" * 8
    assert chunks(text, 16) == ["今天天气很好。" * 2] * 4


def test_overlap_repeats_whole_sentences() -> None:
    text = " ".join(f"Sentence number {number} has words." for number in range(6))
    found = chunks(text, 21, overlap_tokens=8)
    assert found[0].endswith("number 2 has words.")
    assert found[1].startswith("Sentence number 2 has words.")


@pytest.mark.parametrize(("max_tokens", "overlap"), [(15, 0), (4097, 0), (100, -1), (100, 50)])
def test_sizes_out_of_range_are_refused(max_tokens: int, overlap: int) -> None:
    with pytest.raises(InputError, match=r"_tokens=-?\d+ must be"):
        ChunkOptions(max_tokens=max_tokens, overlap_tokens=overlap)


@given(markdown_texts, st.integers(16, 60), st.sampled_from([0, 7]))
def test_chunks_are_ordered_complete_and_within_budget(text: str, max_tokens: int, overlap: int) -> None:
    document = markdown(text)
    options = ChunkOptions(max_tokens=max_tokens, overlap_tokens=overlap)
    found = chunk_document(document, options)
    assert all(0 <= chunk.start < chunk.end <= len(text) for chunk in found)
    assert all(text[chunk.start : chunk.end].strip(" \t") == text[chunk.start : chunk.end].strip() for chunk in found)
    assert all(estimated_tokens(text[chunk.start : chunk.end]) <= max_tokens for chunk in found)
    for left, right in pairwise(found):
        assert left.start < right.start
        assert left.end < right.end
        assert estimated_tokens(text[right.start : left.end]) <= overlap if left.end > right.start else True
    assert _held(text, found) == words_of(text)
    assert all(any(s.start <= chunk.start and chunk.end <= s.end for s in document.sections) for chunk in found)


def _held(text: str, found: list[Chunk]) -> str:
    """The characters that chunks hold, each once."""
    ends = [0, *(chunk.end for chunk in found)]
    return words_of("".join(text[max(end, chunk.start) : chunk.end] for end, chunk in zip(ends, found, strict=False)))


@given(markdown_texts)
def test_options_survive_json(text: str) -> None:
    options = ChunkOptions(max_tokens=16 + len(text) % 100, overlap_tokens=len(text) % 8)
    assert ChunkOptions.from_json(options.to_json()) == options
