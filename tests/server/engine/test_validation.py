"""Values out of range are refused with field, value and range; values in range never are."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import RequestError, UnsupportedFeatureError
from moesaic.server.engine.engine import Capability, EngineLimits
from moesaic.server.engine.request import GenerateRequest, SamplingParameters
from moesaic.server.engine.validation import MAX_SEED, check_capabilities, check_sequences, validate
from tests.server.engine.asking import request

LIMITS = EngineLimits(context_length=64, vocab_size=300, max_n=4)
PROMPT = (1, 2, 3)

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("temperature", {"temperature": -0.1}),
    ("temperature", {"temperature": 2.1}),
    ("temperature", {"temperature": math.nan}),
    ("temperature", {"temperature": math.inf}),
    ("temperature", {"temperature": "hot"}),
    ("temperature", {"temperature": True}),
    ("temperature", {"temperature": 10**400}),
    ("top_p", {"top_p": 0.0}),
    ("top_p", {"top_p": 1.0001}),
    ("top_p", {"top_p": math.nan}),
    ("min_p", {"min_p": -1e-9}),
    ("min_p", {"min_p": 1.5}),
    ("repetition_penalty", {"repetition_penalty": 0.0}),
    ("repetition_penalty", {"repetition_penalty": -math.inf}),
    ("presence_penalty", {"presence_penalty": 2.5}),
    ("frequency_penalty", {"frequency_penalty": -2.5}),
    ("frequency_penalty", {"frequency_penalty": None}),
    ("top_k", {"top_k": -1}),
    ("top_k", {"top_k": 301}),
    ("top_k", {"top_k": 2**40}),
    ("top_k", {"top_k": 1.0}),
    ("n", {"n": 0}),
    ("n", {"n": 5}),
    ("n", {"n": 10**9}),
    ("n", {"n": 2, "temperature": 0.0}),
    ("max_tokens", {"max_tokens": 0}),
    ("max_tokens", {"max_tokens": 62}),
    ("max_tokens", {"max_tokens": None}),
    ("max_tokens", {"max_tokens": 10**5000}),
    ("logprobs", {"logprobs": -1}),
    ("logprobs", {"logprobs": 21}),
    ("seed", {"seed": -1}),
    ("seed", {"seed": 2**63}),
    ("seed", {"seed": 0.5}),
    ("ignore_eos", {"ignore_eos": "no"}),
    ("stop", {"stop": ("",)}),
    ("stop", {"stop": ("x" * 257,)}),
    ("stop", {"stop": "a text, not a tuple"}),
    ("stop", {"stop": tuple("abcdefghijklmnopq")}),
    ("stop", {"stop": (7,)}),
    ("stop_token_ids", {"stop_token_ids": (300,)}),
    ("stop_token_ids", {"stop_token_ids": (-1,)}),
    ("stop_token_ids", {"stop_token_ids": (True,)}),
    ("stop_token_ids", {"stop_token_ids": [1]}),
    ("stop_token_ids", {"stop_token_ids": tuple(range(17))}),
    ("priority", {"priority": 2**31}),
    ("priority", {"priority": "soon"}),
    ("request_id", {"request_id": ""}),
    ("request_id", {"request_id": "x" * 257}),
    ("request_id", {"request_id": 7}),
]


@pytest.mark.parametrize(("field", "options"), REFUSED)
def test_a_value_out_of_range_is_refused(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refusal:
        validate(request(PROMPT, **{"max_tokens": 8, **options}), LIMITS)

    assert refusal.value.field == field
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ((), "empty"),
        ((1, 300), "position 1.*0 to 299.*tokenizer"),
        ((1, -1), "position 1"),
        ((1.0,), "position 0"),
        ((True,), "position 0"),
        (("a",), "position 0"),
        ("text", "not a sequence"),
        (b"bytes", "not a sequence"),
        (7, "not a sequence"),
        ((1,) * 64, "at most 63"),
    ],
)
def test_a_wrong_prompt_is_refused(prompt: Any, says: str) -> None:
    with pytest.raises(RequestError, match=f"prompt_token_ids: .*{says}"):
        validate(GenerateRequest(prompt_token_ids=prompt, sampling=SamplingParameters(max_tokens=1)), LIMITS)


def test_messages_have_value_range_and_next_step() -> None:
    with pytest.raises(RequestError, match=r"temperature: 3\.0 is not a number 0 to 2 \(0 takes the most likely token"):
        validate(request(PROMPT, max_tokens=8, temperature=3.0), LIMITS)

    with pytest.raises(
        RequestError, match=r"max_tokens: 70 is not an integer from 1 to 61 .*64 tokens and the prompt 3"
    ):
        validate(request(PROMPT, max_tokens=70), LIMITS)


SOUND = st.builds(
    SamplingParameters,
    max_tokens=st.integers(1, 61),
    temperature=st.floats(0, 2) | st.sampled_from([0, 1, 2]),
    top_p=st.floats(0, 1, exclude_min=True),
    top_k=st.integers(0, 300),
    min_p=st.floats(0, 1),
    repetition_penalty=st.floats(0, 10, exclude_min=True),
    presence_penalty=st.floats(-2, 2),
    frequency_penalty=st.floats(-2, 2),
    stop=st.lists(st.text(min_size=1, max_size=256), max_size=16).map(tuple),
    stop_token_ids=st.lists(st.integers(0, 299), max_size=16).map(tuple),
    ignore_eos=st.booleans(),
    seed=st.none() | st.integers(0, MAX_SEED),
    logprobs=st.none() | st.integers(0, 20),
    n=st.integers(1, 4),
).filter(lambda sampling: sampling.n == 1 or sampling.temperature > 0)


@given(SOUND)
def test_values_in_range_pass(sampling: SamplingParameters) -> None:
    validate(GenerateRequest(prompt_token_ids=PROMPT, sampling=sampling), LIMITS)


_FIELDS = sorted(vars(SamplingParameters()))
_ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.tuples(st.integers())


@given(SOUND, st.sampled_from(_FIELDS), _ANYTHING)
def test_whatever_comes_is_passed_or_refused_by_name(sampling: SamplingParameters, field: str, value: Any) -> None:
    asked = GenerateRequest(prompt_token_ids=PROMPT, sampling=replace(sampling, **{field: value}))
    refused = []
    try:
        validate(asked, LIMITS)
    except RequestError as refusal:
        refused.append(refusal.field)
    assert refused in ([], [field], ["n"] if field == "temperature" else [field])


@pytest.mark.parametrize(
    ("sequences", "says"),
    [
        ([[1], []], r"sequences\[1\]: 0 tokens; a sequence has 1 to 64"),
        ([[1] * 65], r"sequences\[0\]: 65 tokens"),
        ([[1, 2], [300]], r"sequences\[1\]: 300 at position 0"),
        (["ab"], r"sequences\[0\]: 'ab' is not a sequence"),
    ],
)
def test_sequences_to_score_are_checked(sequences: Any, says: str) -> None:
    check_sequences([[1], [1] * 64], LIMITS)
    with pytest.raises(RequestError, match=says):
        check_sequences(sequences, LIMITS)


def test_what_an_engine_lacks_is_named() -> None:
    every = frozenset(Capability)
    check_capabilities(request(PROMPT, seed=1, logprobs=2), every, "an engine")
    with pytest.raises(UnsupportedFeatureError, match="an engine cannot do seed; it offers abort"):
        check_capabilities(request(PROMPT, seed=1), every - {Capability.SEED}, "an engine")

    with pytest.raises(UnsupportedFeatureError, match="cannot do logprobs"):
        check_capabilities(request(PROMPT, logprobs=0), every - {Capability.LOGPROBS}, "an engine")
