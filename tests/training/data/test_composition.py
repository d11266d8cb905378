"""Numbers and picture of a corpus: what repeats itself shows."""

import math
from pathlib import Path

import pytest

from moesaic.training.data.composition import LENGTH_EDGES, composition_of
from moesaic.training.data.composition_plot import plot_composition
from moesaic.training.data.text_document import TextDocument
from tests.training.data.text_samples import CHINESE, ENGLISH


def documents() -> list[TextDocument]:
    return [
        TextDocument(id="1", text=ENGLISH, corpus="news"),
        TextDocument(id="2", text=CHINESE, corpus="news"),
        TextDocument(id="3", text="a b " * 400, corpus="spam"),
    ]


def test_numbers() -> None:
    numbers = composition_of(documents())
    news, spam, everything = numbers["corpora"]["news"], numbers["corpora"]["spam"], numbers["all"]
    assert (news["documents"], spam["documents"], everything["documents"]) == (2, 1, 3)
    assert news["bytes"] == len(ENGLISH.encode()) + len(CHINESE.encode())
    assert news["languages"] == {"en": 1, "zh": 1}
    assert sum(news["lengths"]) == 2
    assert spam["lengths"][LENGTH_EDGES.index(1000)] == 1
    assert spam["sampled_units"] == 800
    assert spam["distinct"]["1"] == pytest.approx(2 / 800)
    assert spam["distinct"]["2"] == pytest.approx(2 / 799, abs=1e-6)
    assert spam["unigram_entropy_bits"] == pytest.approx(1)
    assert spam["compression_ratio"] > 20 > news["compression_ratio"] > 1
    assert news["distinct"]["3"] > 0.9


def test_entropy_is_that_of_the_shares() -> None:
    numbers = composition_of([TextDocument(id="1", text="a a b c")])["all"]
    assert numbers["unigram_entropy_bits"] == pytest.approx(0.5 * 1 + 2 * 0.25 * math.log2(4))


def test_nothing_is_no_fault() -> None:
    numbers = composition_of([])
    assert numbers["all"]["documents"] == 0
    assert numbers["all"]["unigram_entropy_bits"] == 0


@pytest.mark.parametrize("count", [0, 3])
def test_the_picture_is_drawn(tmp_path: Path, count: int) -> None:
    plot_composition(composition_of(documents()[:count]), tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 5000
