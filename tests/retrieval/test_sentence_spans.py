"""Sentences of English and Chinese, as exact spans."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.retrieval import sentences
from tests.retrieval.documents import markdown_texts, words_of


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("He said “Stop.” Then he left.", ["He said “Stop.”", "Then he left."]),
        ("See Dr. Smith, e.g. on p. 5 (cf. Fig. 3). Done.", ["See Dr. Smith, e.g. on p. 5 (cf. Fig. 3).", "Done."]),
        ("J. K. Rowling wrote it. So did I. It sold.", ["J. K. Rowling wrote it.", "So did I.", "It sold."]),
        ("Version 3.5 is out. use it", ["Version 3.5 is out. use it"]),
        ("Wait... what? No... Yes.", ["Wait... what?", "No...", "Yes."]),
        ("A line\nthat goes on. Next.", ["A line\nthat goes on.", "Next."]),
        ("Title\n\nBody text", ["Title", "Body text"]),
        ("# Title\nBody.", ["# Title", "Body."]),
        ("Title\n*****\nBody.", ["Title\n*****", "Body."]),
        ("Buy:\n- milk. Fresh\n- eggs\n2. tea", ["Buy:", "- milk.", "Fresh", "- eggs", "2. tea"]),
        ("你好。今天好吗？好！走；跑", ["你好。", "今天好吗？", "好！", "走；", "跑"]),
        ("他说：“你好！”然后走了。", ["他说：“你好！”", "然后走了。"]),
        ("真的……好吧。", ["真的……", "好吧。"]),
        ("他用Python 3.11写代码。Really. 好", ["他用Python 3.11写代码。", "Really.", "好"]),
        ("好吗?不好!嗯", ["好吗?", "不好!", "嗯"]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(markdown_texts)
def test_spans_are_ordered_tight_and_complete(text: str) -> None:
    spans = sentences(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(spans))
    assert all(text[start:end] == text[start:end].strip() for start, end in spans)
    assert words_of("".join(split(text))) == words_of(text)


@given(markdown_texts, st.integers(0, 400), st.integers(0, 400))
def test_borders_cut_and_offsets_stay_those_of_the_whole_text(text: str, first: int, second: int) -> None:
    low, high = sorted((first, second))
    spans = sentences(text, low, high)
    assert all(low <= start < end <= high for start, end in spans)
    assert words_of("".join(text[start:end] for start, end in spans)) == words_of(text[low:high])
