"""When a span has found one that answers."""

import pytest

from moesaic.retrieval.gold_span import GoldSpan, hits


@pytest.mark.parametrize(
    ("document", "start", "end", "found"),
    [
        ("a", 100, 200, True),
        ("a", 150, 400, True),
        ("a", 151, 400, False),
        ("a", 120, 130, True),
        ("a", 195, 205, True),
        ("a", 196, 206, False),
        ("b", 100, 200, False),
    ],
)
def test_a_citation_hits_if_half_of_the_shorter_one_is_shared(document: str, start: int, end: int, found: bool) -> None:
    assert hits(GoldSpan(document, start, end), [GoldSpan("a", 100, 200)]) is found
