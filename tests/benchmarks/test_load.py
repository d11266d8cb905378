"""Rates under load, from made-up arrivals and from a scripted engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load import Arrival, Load, prompts, steady_rate
from moesaic.server.engine import ScriptedEngine


def stepping(streams: int, steps: int, step_s: float, late: list[int], jitter: list[float]) -> list[list[Arrival]]:
    """Arrivals of streams that get one token in every step, from step `late` on for `steps` steps."""
    return [
        [Arrival((first + step) * step_s + shift * step_s, 1) for step in range(steps)]
        for _, first, shift in zip(range(streams), late, jitter, strict=True)
    ]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0.0, 0.4)), min_size=1, max_size=32),
    st.floats(1e-3, 1.0),
)
def test_streams_of_regular_steps_have_the_rate_of_the_steps(starts: list[tuple[int, float]], step_s: float) -> None:
    late, jitter = [first for first, _ in starts], [shift for _, shift in starts]
    rate = steady_rate(stepping(len(starts), 20, step_s, late, jitter))
    assert rate == pytest.approx(len(starts) / step_s, rel=1e-6)


def test_tokens_that_arrive_together_all_count() -> None:
    assert steady_rate([[Arrival(0.0, 1), Arrival(1.0, 3), Arrival(2.0, 1)]]) == pytest.approx(2.0)


def test_the_time_before_all_streams_decode_does_not_count() -> None:
    slow_start = [Arrival(0.0, 1), Arrival(9.0, 1), Arrival(10.0, 1), Arrival(11.0, 1), Arrival(12.0, 1)]
    late = [Arrival(9.0, 1), Arrival(10.0, 1), Arrival(11.0, 1), Arrival(12.0, 1)]
    assert steady_rate([slow_start, late]) == pytest.approx(2.0)


def test_streams_that_never_decode_together_have_no_rate() -> None:
    early, late = [Arrival(0.0, 1), Arrival(1.0, 1)], [Arrival(2.0, 1), Arrival(3.0, 1)]
    with pytest.raises(ValueError, match="ask for more new tokens"):
        steady_rate([early, late])


def test_prompts_follow_each_other() -> None:
    assert prompts(range(10), 3, 3) == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
    with pytest.raises(ValueError, match="need 12, the text has 10"):
        prompts(range(10), 4, 3)


def test_a_step_is_one_token_of_each_stream_or_one_prompt() -> None:
    decode = Load(name="d", streams=8, prompt_tokens=64, new_tokens=32)
    prefill = Load(name="p", streams=4, prompt_tokens=512, new_tokens=1)
    assert (decode.step_tokens, decode.step_rows) == (8, 8)
    assert (prefill.step_tokens, prefill.step_rows) == (512, 1)


async def test_a_warm_up_runs_every_stream_and_needs_no_rate() -> None:
    engine = ScriptedEngine(["word " * 40] * 8, context_length=4096)
    await engine.start()
    await Load(name="d", streams=8, prompt_tokens=4, new_tokens=64).warm_up(engine, range(32), 1)
    await engine.stop()
    assert [request.sampling.max_tokens for request in engine.requests] == [1] * 8
