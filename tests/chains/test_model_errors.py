"""Errors that are members of both trees."""

import pytest
from langchain_core import exceptions

from moesaic import errors
from moesaic.chains.model_errors import joined_error, joined_errors

SAMPLES: list[tuple[errors.MoesaicError, type[exceptions.ModelError], bool]] = [
    (errors.ContextOverflowError("prompt", "9 tokens"), exceptions.ContextOverflowError, False),
    (errors.RequestError("sampling.top_p", "2 is above 1"), exceptions.ModelInvalidRequestError, False),
    (errors.InputError("wrong"), exceptions.ModelInvalidRequestError, False),
    (errors.NotFoundError("model", "big", "tiny is served"), exceptions.ModelNotFoundError, False),
    (errors.UnauthenticatedError("no token"), exceptions.ModelAuthenticationError, False),
    (errors.PermissionDeniedError("not yours"), exceptions.ModelPermissionDeniedError, False),
    (errors.DeadlineExceededError("late", request_id="r"), exceptions.ModelTimeoutError, True),
    (errors.UnavailableError("away", retry_after_s=2.0), exceptions.ModelConnectionError, True),
    (errors.EngineDeadError("killed"), exceptions.ModelConnectionError, True),
    (errors.EngineOverloadedError("full"), exceptions.ModelRateLimitError, True),
    (errors.UnsupportedFeatureError("no encoder"), exceptions.ModelInvalidRequestError, False),
    (errors.EngineError("broken"), exceptions.ModelAPIError, True),
    (errors.ServiceError("unexpected", request_id="r"), exceptions.ModelAPIError, True),
]


@pytest.mark.parametrize(("error", "kind", "retryable"), SAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_is_found_in_both_trees(
    error: errors.MoesaicError, kind: type[exceptions.ModelError], retryable: bool
) -> None:
    joined = joined_error(error)
    assert isinstance(joined, type(error))
    assert isinstance(joined, kind)
    assert joined.is_retryable is retryable
    assert (type(joined).__name__, str(joined), vars(joined)) == (type(error).__name__, str(error), vars(error))
    assert type(joined_error(type(error).__new__(type(error)))) is type(joined)


def test_what_was_joined_stays() -> None:
    joined = joined_error(errors.UnavailableError("away"))
    assert joined_error(joined) is joined


def test_a_block_raises_the_joined_error_where_it_arose() -> None:
    def fail() -> None:
        raise errors.RequestError("top_p", "2 is above 1")

    with pytest.raises(exceptions.ModelInvalidRequestError) as raised, joined_errors():
        fail()
    assert isinstance(raised.value, errors.RequestError)
    assert raised.value.field == "top_p"
    assert raised.traceback[-1].name == "fail"


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), joined_errors():
        raise KeyError("x")
