"""Errors that are members of two trees: that of Moesaic, and LangChain's `ModelError`.

LangChain's middleware for retries, fallbacks and summaries looks for its own classes; callers of Moesaic look for ours.
What leaves a LangChain class of ours is both: `except ModelTimeoutError` and `except DeadlineExceededError` find it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core import exceptions

from moesaic import errors

__all__ = ["MODEL_ERRORS", "joined_error", "joined_errors"]

MODEL_ERRORS: tuple[tuple[type[errors.MoesaicError], type[exceptions.ModelError]], ...] = (
    (errors.ContextOverflowError, exceptions.ContextOverflowError),
    (errors.NotFoundError, exceptions.ModelNotFoundError),
    (errors.InputError, exceptions.ModelInvalidRequestError),
    (errors.UnauthenticatedError, exceptions.ModelAuthenticationError),
    (errors.PermissionDeniedError, exceptions.ModelPermissionDeniedError),
    (errors.DeadlineExceededError, exceptions.ModelTimeoutError),
    (errors.UnavailableError, exceptions.ModelConnectionError),
    (errors.EngineDeadError, exceptions.ModelConnectionError),
    (errors.EngineOverloadedError, exceptions.ModelRateLimitError),
    (errors.UnsupportedFeatureError, exceptions.ModelInvalidRequestError),
    (errors.MoesaicError, exceptions.ModelAPIError),
)
"""What LangChain calls each kind of error; the first match wins."""


def joined_error(error: errors.MoesaicError) -> errors.MoesaicError:
    """The same error, as a member of both trees."""
    if isinstance(error, exceptions.ModelError):
        return error
    model_error = next(theirs for ours, theirs in MODEL_ERRORS if isinstance(error, ours))
    both = _join(type(error), model_error)
    joined = both.__new__(both)
    joined.args = error.args
    vars(joined).update(vars(error))
    return joined


@contextmanager
def joined_errors() -> Iterator[None]:
    """Raise what the block raises as a member of both trees."""
    try:
        yield
    except errors.MoesaicError as error:
        raise joined_error(error).with_traceback(error.__traceback__) from error.__cause__


_joined: dict[type[errors.MoesaicError], type[errors.MoesaicError]] = {}


def _join(ours: type[errors.MoesaicError], theirs: type[exceptions.ModelError]) -> type[errors.MoesaicError]:
    """The class below both, named as ours; there is one for each of ours."""
    if ours not in _joined:
        _joined[ours] = type(ours.__name__, (ours, theirs), {"__doc__": ours.__doc__})
    return _joined[ours]
