"""A table of a recipe into a frozen dataclass: unknown keys and wrong types are refused by name."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from moesaic.errors import RecipeError

__all__ = ["from_table"]

T = TypeVar("T")

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}


def from_table(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """Build a dataclass from a mapping, nested ones from nested mappings, tuples from lists.

    Args:
        kind: the dataclass.
        table: values by name of field.
        where: name of the table, for messages.

    Raises:
        RecipeError: a key is unknown or missing, a value has the wrong type, or the dataclass refuses it.
    """
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where}={table!r} must be a table")

    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            raise RecipeError(f"{where} has the unknown key {key!r}; {meant}known are {', '.join(fields)}")

    missing = [
        name
        for name, field in fields.items()
        if name not in table and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecipeError(f"{where} lacks {missing[0]!r}: give it")

    hints = typing.get_type_hints(kind)
    values = {key: _value(hints[key], value, f"{where}.{key}") for key, value in table.items()}
    try:
        return kind(**values)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _optional(arguments, value, where)

    if origin is typing.Literal:
        if value not in arguments:
            raise RecipeError(f"{where}={value!r} must be one of {', '.join(map(repr, arguments))}")

        return value

    if origin is tuple:
        return _sequence(arguments, value, where)

    if origin is dict:
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where}={value!r} must be a table")

        return {str(key): _value(arguments[1], each, f"{where}.{key}") for key, each in value.items()}

    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_table(hint, value, where)  # type: ignore[arg-type]

    return _scalar(hint, value, where)


def _optional(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    """None, or a value of the other type; `false` switches an optional table off."""
    inner = next(argument for argument in arguments if argument is not type(None))
    if value is None or (value is False and dataclasses.is_dataclass(inner)):
        return None

    if value is True and dataclasses.is_dataclass(inner):
        return from_table(inner, {}, where)  # type: ignore[arg-type]

    return _value(inner, value, where)


def _sequence(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    repeated = len(arguments) == 2 and arguments[1] is Ellipsis
    if repeated and isinstance(value, str | Path):
        value = [value]
    if not isinstance(value, list | tuple):
        raise RecipeError(f"{where}={value!r} must be a list")

    kinds = [arguments[0]] * len(value) if repeated else list(arguments)
    if len(kinds) != len(value):
        raise RecipeError(f"{where}={value!r} must have {len(kinds)} entries")

    return tuple(
        _value(kind, each, f"{where}[{place}]") for place, (kind, each) in enumerate(zip(kinds, value, strict=True))
    )


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value

    # A whole number will do for a number; but true is not 1.
    accepted = {float: (int, float), Path: (str, Path)}.get(hint, (hint,))
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise RecipeError(f"{where}={value!r} must be {_NAMES.get(hint, hint)}")

    return hint(value)
