"""A record: a frozen dataclass that checks its own fields and travels through JSON unchanged.

- Types and ranges are checked when a record is built, wherever the values came from: a caller gets an `InputError`, a
  file a `ForeignArtifactError`. Unknown and missing keys are refused, never skipped.
- Values are stored in one normal form (lists become tuples, whole numbers become floats where the field is a float), so
  that a record and its JSON have the same digest on every way round.
- Field types: `str`, `int`, `float`, another record, `Option`, `tuple[X, ...]`, `Mapping[str, X]`, and `X | None`.
"""

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, ClassVar, Self, TypeAlias, get_args, get_origin, get_type_hints

from moesaic.errors import ForeignArtifactError, InputError

__all__ = ["Option", "Record"]

Option: TypeAlias = str | int | float | bool | Sequence[Any] | None
"""A JSON scalar, or a list of such values (a tuple is stored as a list)."""

_OPTION_DEPTH = 8


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base of the records; a subclass is a frozen keyword-only dataclass too."""

    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Smallest and largest value of the numeric fields, where they have bounds."""

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            where = f"{type(self).__name__}.{name}"
            value = _typed(getattr(self, name), hint, where)
            object.__setattr__(self, name, value)  # the record is frozen from here on
            low, high = self.RANGES.get(name, (-math.inf, math.inf))
            if isinstance(value, int | float) and not low <= value <= high:
                raise InputError(f"{where} must be from {low} to {high}, got {value!r}")

        self._check()

    def _check(self) -> None:
        """Raise InputError for what single fields cannot show; subclasses extend it."""

    def to_json(self) -> dict[str, Any]:
        """Give the record as plain JSON values; `from_json` makes an equal record of them."""
        return {name: _plain(getattr(self, name)) for name in _hints(type(self))}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Build the record from parsed JSON.

        Raises:
            ForeignArtifactError: an unknown or a missing key, a wrong type, or a value out of its range.
        """
        try:
            return cls._from_mapping(value)
        except InputError as error:
            raise ForeignArtifactError(f"not written by this version of Moesaic: {error}") from error
        except RecursionError as error:
            raise ForeignArtifactError(f"not written by Moesaic: {cls.__name__} is nested too deeply") from error

    @classmethod
    def _from_mapping(cls, value: object) -> Self:
        if not isinstance(value, Mapping):
            raise InputError(f"{cls.__name__} must be an object, got {reprlib.repr(value)}")

        known = _hints(cls)
        if unknown := sorted(str(key) for key in value if key not in known):
            raise InputError(f"{cls.__name__} has the unknown keys {unknown}; the keys are {list(known)}")

        if missing := [name for name in known if name not in value]:
            raise InputError(f"{cls.__name__} lacks the keys {missing}")

        return cls(**value)


def _hints(record: type[Record]) -> dict[str, Any]:
    hints = get_type_hints(record)
    return {item.name: hints[item.name] for item in fields(record)}


def _typed(value: Any, hint: Any, where: str) -> Any:
    """Return `value` in the normal form of the annotation `hint`; an InputError names `where`."""
    if hint == Option:
        return _option(value, where)

    arguments = get_args(hint)
    if get_origin(hint) is UnionType:  # X | None
        return None if value is None else _typed(value, arguments[0], where)

    if get_origin(hint) is tuple:
        items = _expect(value, list | tuple, where, "a list")
        return tuple(_typed(item, arguments[0], f"{where}[{index}]") for index, item in enumerate(items))

    if get_origin(hint) is Mapping:
        pairs = _expect(value, Mapping, where, "an object").items()
        return {_text(key, where): _typed(item, arguments[1], f"{where}[{key!r}]") for key, item in pairs}

    if issubclass(hint, Record):
        return value if isinstance(value, hint) else hint._from_mapping(value)

    if hint is str:
        return _text(value, where)

    return int(_expect(value, int, where, "a whole number")) if hint is int else _finite(value, where)


def _expect(value: Any, kind: Any, where: str, what: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):  # a bool is an int to Python, but not to a reader
        raise InputError(f"{where} must be {what}, got {reprlib.repr(value)}")

    return value


def _finite(value: object, where: str) -> float:
    try:
        number = float(_expect(value, int | float, where, "a number"))
    except OverflowError:  # a whole number beyond the floats
        number = math.inf

    if not math.isfinite(number):
        raise InputError(f"{where} must be a finite number, got {reprlib.repr(value)}")

    return number


def _text(value: object, where: str) -> str:
    text = str(_expect(value, str, where, "a text"))  # a member of a StrEnum becomes plain text
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"{where} must be valid Unicode, got {reprlib.repr(text)}")

    return text


def _option(value: object, where: str, depth: int = 0) -> Any:
    if isinstance(value, list | tuple) and depth < _OPTION_DEPTH:
        return [_option(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]

    if isinstance(value, str):
        return _text(value, where)

    if isinstance(value, float):
        return _finite(value, where)

    if value is None or isinstance(value, bool | int):
        return value

    raise InputError(
        f"{where} must be a JSON scalar or a list of them, nested up to {_OPTION_DEPTH} deep, got {reprlib.repr(value)}"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()

    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}

    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
