"""The plain sampler draws what it should, checked against counts and against definitions."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesaic.server.engine.request import SamplingParameters
from moesaic.server.engine.token_sampler import TokenSampler

LOGITS = torch.log(torch.tensor([0.5, 0.25, 0.15, 0.1]))


def drawn(count: int = 2000, **options: Any) -> dict[int, float]:
    """Share of each token in many first draws."""
    counts: dict[int, float] = {}
    for index in range(count):
        token = TokenSampler(SamplingParameters(seed=1, **options), (), index, len(LOGITS)).draw(LOGITS).token_id
        counts[token] = counts.get(token, 0) + 1 / count
    return counts


def test_the_model_s_own_distribution_is_the_default() -> None:
    shares = drawn()
    assert shares == pytest.approx({0: 0.5, 1: 0.25, 2: 0.15, 3: 0.1}, abs=0.05)


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({"temperature": 0.0}, {0}),
        ({"top_k": 1}, {0}),
        ({"top_k": 2}, {0, 1}),
        ({"top_p": 0.4}, {0}),
        ({"top_p": 0.6}, {0, 1}),
        ({"top_p": 0.8}, {0, 1, 2}),
        ({"min_p": 0.4}, {0, 1}),
        ({"top_k": 3, "top_p": 0.7, "temperature": 2.0}, {0, 1}),
        ({"temperature": 1e-9}, {0}),
    ],
)
def test_truncation_keeps_the_likely_tokens(options: dict[str, Any], tokens: set[int]) -> None:
    assert set(drawn(count=300, **options)) == tokens


def test_temperature_sharpens() -> None:
    assert drawn(temperature=0.5)[0] == pytest.approx(0.25 / 0.345, abs=0.05)


def test_penalties_see_what_they_should() -> None:
    logits = torch.tensor([2.0, 1.9, -1.0])
    greedy = SamplingParameters(temperature=0.0)

    def tokens(prompt: tuple[int, ...], **options: Any) -> list[int]:
        sampling = SamplingParameters(**{**vars(greedy), **options})
        sampler = TokenSampler(sampling, prompt, 0, 3)
        return [sampler.draw(logits).token_id for _ in range(3)]

    assert tokens(()) == [0, 0, 0]
    assert tokens((), presence_penalty=0.5) == [0, 1, 0], "both were seen once, the order of logits decides again"
    assert tokens((), frequency_penalty=0.5) == [0, 1, 0]
    assert tokens((0,), presence_penalty=0.5)[0] == 0, "the prompt is not the answer"
    assert tokens((0,), repetition_penalty=1.5)[0] == 1, "but it counts as a repetition"


def test_logprobs_are_the_model_s_own() -> None:
    sampler = TokenSampler(SamplingParameters(temperature=0.0, repetition_penalty=9.0, logprobs=2), (0, 1), 0, 4)
    token = sampler.draw(LOGITS)
    assert token.logprob == pytest.approx(float(LOGITS[token.token_id]))
    assert token.top is not None
    assert [pair.token_id for pair in token.top] == [0, 1]
    assert [pair.logprob for pair in token.top] == pytest.approx(LOGITS[:2].tolist())


@given(
    st.lists(st.floats(-30, 30), min_size=2, max_size=20),
    st.floats(0.01, 1.0),
    st.integers(0, 20),
    st.floats(0.0, 1.0),
    st.integers(0, 2**63 - 1),
)
def test_some_token_is_always_left(logits: list[float], top_p: float, top_k: int, min_p: float, seed: int) -> None:
    sampling = SamplingParameters(top_p=top_p, top_k=top_k, min_p=min_p, seed=seed, temperature=0.7)
    token = TokenSampler(sampling, (), 15, len(logits)).draw(torch.tensor(logits)).token_id
    assert 0 <= token < len(logits)
    greedy = TokenSampler(SamplingParameters(top_k=1), (), 0, len(logits)).draw(torch.tensor(logits)).token_id
    assert logits[greedy] == pytest.approx(max(logits), abs=1e-5)
