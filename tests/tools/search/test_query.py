"""Queries: one form for what means the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import InputError
from moesaic.tools.search import Safety, SearchQuery, TimeRange


@pytest.mark.parametrize(
    ("given_text", "text"),
    [
        ("  mixture \t of\n experts ", "mixture of experts"),
        ("ｖＬＬＭ　量化，怎么做？", "vLLM 量化,怎么做?"),
        ("混合专家　模型", "混合专家 模型"),
        ("zero\u200bwidth \ufeffmark", "zero width mark"),
        ("ｅ\u0301", "é"),
        ("bell\x07 \u202eright to left", "bell right to left"),
        ("lone \ud800 surrogate", "lone surrogate"),
    ],
)
def test_text_is_normalized(given_text: str, text: str) -> None:
    assert SearchQuery(text=given_text).text == text


@pytest.mark.parametrize(
    ("text", "language", "spoken"),
    [
        ("experts", None, None),
        ("混合专家 MoE", None, "zh"),
        ("エキスパートの混合", None, None),
        ("混合", "ja", "ja"),
        ("experts", "zh-TW", "zh-TW"),
    ],
)
def test_the_language_is_that_of_the_text_if_it_shows(text: str, language: str | None, spoken: str | None) -> None:
    assert SearchQuery(text=text, language=language).spoken == spoken


def test_queries_that_are_answered_alike_share_a_key() -> None:
    same = {
        SearchQuery(text=text).key
        for text in ("Mixture  of Experts", "mixture of experts", "ＭＩＸＴＵＲＥ of experts")
    }
    assert len(same) == 1
    different = [
        SearchQuery(text="cats OR dogs"),
        SearchQuery(text="cats or dogs"),
        SearchQuery(text="cats or dogs", count=9),
        SearchQuery(text="cats or dogs", language="en"),
        SearchQuery(text="cats or dogs", time_range=TimeRange.DAY),
        SearchQuery(text="cats or dogs", safety=Safety.STRICT),
        SearchQuery(text="cats or dogs\nday"),
    ]
    assert len({query.key for query in different}) == len(different)


@pytest.mark.parametrize(
    ("given_fields", "message"),
    [
        ({"text": " \n\u200b"}, "is blank"),
        ({"text": "x" * 2001}, "has 2001 characters; it may have 2000"),
        ({"text": "x", "count": 0}, "count=0 must be 1 to 50"),
        ({"text": "x", "count": 51}, "count=51"),
        ({"text": "x", "language": "english"}, "language='english' must be a code"),
        ({"text": "x", "language": ""}, "language=''"),
        ({"text": "x", "time_range": "decade"}, "time_range='decade' must be one of day, week, month, year"),
        ({"text": "x", "safety": "maybe"}, "safety='maybe' must be one of off, moderate, strict"),
    ],
)
def test_queries_out_of_range_are_refused(given_fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SearchQuery(**given_fields)  # type: ignore[arg-type]


def test_plain_texts_of_options_become_members() -> None:
    query = SearchQuery(text="x", time_range="week", safety="off")  # type: ignore[arg-type]
    assert (query.time_range, query.safety) == (TimeRange.WEEK, Safety.OFF)


@given(st.text(min_size=1, max_size=100))
def test_normalizing_twice_changes_nothing(text: str) -> None:
    try:
        query = SearchQuery(text=text)
    except InputError:
        return
    assert SearchQuery(text=query.text).text == query.text
    assert query.text.isprintable() or "\xad" in query.text or not query.text.isascii()
    assert query.text.encode()
