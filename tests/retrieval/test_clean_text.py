"""Cleaned text, and the way back to the source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import DocumentError, InputError
from moesaic.retrieval.clean_text import clean, decode
from moesaic.retrieval.source_map import Run, SourceMap


def test_line_ends_marks_and_control_characters() -> None:
    text, source_map = clean("\ufeffOne\r\ntwo\rthree\x00\x1b four\n \n")
    assert text == "One\ntwo\nthree four"
    assert [source_map.to_source(text.index(word)) for word in ("One", "two", "three", "four")] == [1, 6, 10, 18]


def test_a_clean_text_keeps_every_character() -> None:
    text = "  # 标题\n\n\tx = 1  \n\n  é 👍🏽 \u200b end"
    assert clean(text) == (text, SourceMap.identity())


@given(st.text(alphabet=st.sampled_from("ab标\r\n\t \x00\x07\ufeff\x7f"), max_size=80))
def test_every_offset_leads_back_to_its_character(source: str) -> None:
    try:
        text, source_map = clean(source)
    except DocumentError:
        assert not [character for character in source if not character.isspace() and character.isprintable()]
        return

    origins = [source_map.to_source(offset) for offset in range(len(text))]
    assert None not in origins
    for character, origin in zip(text, origins, strict=True):
        assert origin is not None
        assert source[origin] == character or (character == "\n" and "\r" in source[max(0, origin - 1) : origin + 1])
    assert origins == sorted(set(origins), key=lambda origin: origin or 0)


def test_a_map_without_runs_leads_nowhere() -> None:
    assert SourceMap().to_source(3) is None
    with pytest.raises(InputError, match="offset=-1 must be at least 0"):
        SourceMap.identity().to_source(-1)


def test_runs_that_only_continue_are_left_out() -> None:
    assert SourceMap.from_runs([(0, 0), (5, 5), (7, 9), (8, 10)]).runs == (Run(0, 0), Run(7, 9))


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("标题".encode(), "utf-8"),
        ("标题".encode("utf-8-sig"), "gb18030"),
        ("标题".encode("utf-16"), "utf-8"),
        ("标题".encode("utf-32"), "utf-8"),
        ("标题".encode("gb18030"), "gb18030"),
    ],
)
def test_encodings(content: bytes, encoding: str) -> None:
    assert decode(content, encoding).lstrip("\ufeff") == "标题"


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(DocumentError, match="binary"):
        decode(b"\x7fELF\x00\x01")
    with pytest.raises(DocumentError, match=r"not utf-8 \(byte 0xb1 at 0\): .* gb18030"):
        decode("标题".encode("gb18030"))
    with pytest.raises(InputError, match="encoding='utf-9' is unknown"):
        decode(b"x", "utf-9")
    with pytest.raises(DocumentError, match="empty"):
        clean(" \r\n\x00")
