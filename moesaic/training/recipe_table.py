"""TOML tables as frozen dataclasses: every key is known, every value has its field's type.

- An unknown key is refused, with the nearest known one in the message: a misspelt key that silently keeps its default
  costs a night.
- A value is never bent into another type, except a whole number into a float, a text into a path, and one text into a
  list of it.
- What may be left out is switched off by `false`: a stage, a limit. A table is also switched on, as it is, by `true`.
- `key.path=value` changes one value from the command line; the value is TOML, or else a plain text.
"""

import dataclasses
import difflib
import math
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from moesaic.errors import InputError, RecipeError

__all__ = ["flattened", "parsed_table", "read_table", "with_settings"]

T = TypeVar("T")


def read_table(path: Path) -> dict[str, Any]:
    """The content of a TOML file; `RecipeError` if there is none, or it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise RecipeError(f"there is no recipe {str(path)!r}: give a .toml file, such as those in recipes/") from error
    except OSError as error:
        raise RecipeError(f"{path} cannot be read ({error.strerror or error}): allow it, or give another") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not TOML ({error}): correct that line") from error


def with_settings(table: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """A copy of a table with `a.b=value` applied, each in its turn; missing tables on the way are made."""
    result = _copied(table)
    for setting in settings:
        path, equals, text = setting.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise RecipeError(f"--set {setting!r} is not of the form key=value: write for example --set run.steps=100")
        place = result
        for key in keys[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise RecipeError(f"--set {setting!r}: {key!r} is a value and has no keys below it")
        place[keys[-1]] = _value(text.strip())
    return result


def parsed_table(kind: type[T], table: Any, where: str = "") -> T:
    """A dataclass from a table; `where` is the table's name for messages, empty for the whole recipe.

    Raises:
        RecipeError: an unknown or missing key, a value of another type, or one that the dataclass refuses.
    """
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where}={table!r} must be a table: write [{where}] and its keys below")
    assert dataclasses.is_dataclass(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in table:
        if key not in fields:
            raise RecipeError(_unknown(key, fields, where))
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in table:
            raise RecipeError(f"{_joined(where, name)} is missing: the recipe must give it")
    hints = get_type_hints(kind)
    values = {key: _converted(hints[key], value, _joined(where, key)) for key, value in table.items()}
    try:
        return kind(**values)
    except RecipeError as error:
        raise RecipeError(f"[{where}] {error}" if where and where not in str(error) else str(error)) from error
    except InputError as error:  # options of other parts of Moesaic check themselves
        raise RecipeError(f"[{where}] {error}") from error


def flattened(value: Any, where: str = "") -> dict[str, Any]:
    """A dataclass as one flat dictionary of JSON values, `section.key` to value; tables in a list go by number."""
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list) and any(dataclasses.is_dataclass(item) for item in value):
        value = {str(place): item for place, item in enumerate(value)}
    if isinstance(value, Mapping):
        parts = [flattened(item, _joined(where, str(key))) for key, item in value.items()]
        return {name: item for part in parts for name, item in part.items()}
    return {where: _plain(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _joined(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _unknown(key: str, fields: Iterable[str], where: str) -> str:
    near = difflib.get_close_matches(key, list(fields), n=1, cutoff=0.5)
    meant = f"did you mean {_joined(where, near[0])}?" if near else f"known are {', '.join(sorted(fields))}"
    return f"{_joined(where, key)} is no key of {'[' + where + ']' if where else 'a recipe'}: {meant}"


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word, such as a path or the name of a preset


def _converted(kind: Any, value: Any, where: str) -> Any:
    """A TOML value as the type of a field."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _converted_union(arguments, value, where)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise RecipeError(f"{where}={value!r} is unknown: choose one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        return _converted_tuple(arguments, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where}={value!r} must be a table of keys and values")
        return {key: _converted(arguments[1], item, _joined(where, key)) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else parsed_table(kind, value, where)  # type: ignore[arg-type]
    return _converted_scalar(kind, value, where)


def _converted_union(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    """The first member that takes the value; the last one's complaint if none does."""
    members = [member for member in arguments if member is not type(None)]
    if len(members) < len(arguments) and bool not in members:
        if value is None or value is False:  # TOML has no null, tables from Python do
            return None
        if value is True and dataclasses.is_dataclass(members[0]):
            return parsed_table(members[0], {}, where)  # type: ignore[arg-type]
    for member in members[:-1]:
        try:
            return _converted(member, value, where)
        except RecipeError:
            continue
    return _converted(members[-1], value, where)


def _converted_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    repeated = len(arguments) == 2 and arguments[1] is Ellipsis
    if repeated and isinstance(value, str | Path):
        value = [value]
    if not isinstance(value, list | tuple):
        raise RecipeError(f"{where}={value!r} must be a list: write [{value!r}] for a single item")
    if repeated:
        return tuple(_converted(arguments[0], item, f"{where}[{place}]") for place, item in enumerate(value))
    if len(value) != len(arguments):
        raise RecipeError(f"{where}={value!r} must have {len(arguments)} items, it has {len(value)}")
    return tuple(_converted(kind, item, where) for kind, item in zip(arguments, value, strict=True))


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def _converted_scalar(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [member.value for member in kind]
        if value not in choices:
            raise RecipeError(f"{where}={value!r} is unknown: choose one of {', '.join(map(repr, choices))}")
        return kind(value)
    assert kind in _NAMES, f"{where}: no recipe can give a {kind}"
    sound = isinstance(value, str | Path if kind is Path else kind) and isinstance(value, bool) == (kind is bool)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not sound or (kind is float and not math.isfinite(value)):
        raise RecipeError(f"{where}={value!r} must be {_NAMES[kind]}")
    return Path(value) if kind is Path else value
