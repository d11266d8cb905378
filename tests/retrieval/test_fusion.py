"""Reciprocal rank fusion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.retrieval.fusion import fuse

RANKS = st.permutations(range(12)).map(lambda order: {position: rank for rank, position in enumerate(order[:7], 1)})


def test_scores_are_those_of_the_paper() -> None:
    fused = fuse([{7: 1, 8: 2}, {8: 1, 9: 2}])
    assert [position for position, _ in fused] == [8, 7, 9]
    assert [score for _, score in fused] == pytest.approx([1 / 61 + 1 / 62, 1 / 61, 1 / 62])


def test_equal_scores_go_by_position() -> None:
    assert [position for position, _ in fuse([{5: 1}, {3: 1}])] == [3, 5]


@given(RANKS, RANKS)
def test_everything_is_ranked_once_and_agreement_is_kept(first: dict[int, int], second: dict[int, int]) -> None:
    fused = fuse([first, second])
    order = [position for position, _ in fused]
    assert sorted(order) == sorted(first.keys() | second.keys())
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)
    for better in first.keys() & second.keys():
        for worse in first.keys() & second.keys():
            if first[better] < first[worse] and second[better] < second[worse]:
                assert order.index(better) < order.index(worse)
