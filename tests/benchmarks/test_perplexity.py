"""Windows over a text, and the perplexity computed in them."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.perplexity import perplexity, python_reference, wikitext, windows


@given(st.integers(2, 5000), st.integers(2, 600), st.data())
def test_every_token_but_the_first_is_scored_once(tokens: int, length: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, length - 1))
    cut = windows(tokens, length=length, stride=stride)
    scored = [position for window in cut for position in range(window.scored, window.end)]
    assert scored == list(range(1, tokens))
    assert all(window.end - window.start <= length for window in cut)
    assert all(window.scored - window.start >= min(length - stride, 1) for window in cut)


def test_later_windows_begin_with_context() -> None:
    assert windows(25, length=10, stride=6) == [(0, 1, 10), (6, 10, 16), (12, 16, 22), (18, 22, 25)]


@pytest.mark.parametrize(("tokens", "length", "stride"), [(1, 10, 5), (10, 10, 10), (10, 10, 0)])
def test_windows_that_score_nothing_are_refused(tokens: int, length: int, stride: int) -> None:
    with pytest.raises(ValueError, match="windows need"):
        windows(tokens, length=length, stride=stride)


def engine_that_knows(probability: float) -> Any:
    """An engine that gives even tokens this probability, and odd ones half of it."""

    async def score(sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[math.log(probability / (1 + token % 2)) for token in sequence[1:]] for sequence in sequences]

    return SimpleNamespace(score=score)


def test_perplexity_is_that_of_the_tokens_wherever_windows_lie() -> None:
    text = list(range(4001))
    expected = 4.0 * math.sqrt(2)  # half of the 4000 scored tokens are odd
    assert asyncio.run(perplexity(engine_that_knows(0.25), text)) == pytest.approx(expected, rel=1e-9)


def test_the_python_reference_is_long_enough() -> None:
    assert len(python_reference()) > 300_000


def test_wikitext_is_read_from_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "lm").mkdir()
    (tmp_path / "lm" / "wikitext2_valid.txt").write_text(" = Homarus = \n", encoding="utf-8")
    assert wikitext(tmp_path) == " = Homarus = \n"
    with pytest.raises(FileNotFoundError):
        wikitext(tmp_path / "elsewhere")
