"""Units of measure, through pint with exact factors; the only file that imports it.

The registry takes most of a second to load, so it is made when the first unit is seen.
"""

import importlib
import re
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

from moesaic.errors import MissingDependencyError, ToolArgumentError
from moesaic.tools.builtin.exact_numbers import Number, checked

__all__ = ["attached", "converted", "is_quantity", "quantity", "with_units", "without_unit", "written_unit"]

_ABSURD = 10**40
_OWN = ("jin = 0.5 * kilogram", "mu_of_land = 2000 / 3 * meter ** 2")
_NAME = re.compile(r"[^\W\d]\w{0,39}")


@cache
def _pint() -> Any:
    try:
        return importlib.import_module("pint")
    except ImportError as error:
        raise MissingDependencyError(
            f"units need pint, which cannot be imported ({error}): pip install 'moesaic[tools]'"
        ) from error


@cache
def _registry() -> Any:
    registry = _pint().UnitRegistry(non_int_type=Fraction)
    for definition in _OWN:
        registry.define(definition)
    return registry


def quantity(name: str) -> Any:
    """One of a unit.

    Raises:
        ToolArgumentError: there is no unit of this name.
        MissingDependencyError: the units' package is not installed.
    """
    registry = _registry()
    try:
        if not _NAME.fullmatch(name):
            raise ValueError(name)
        return registry.Quantity(Fraction(1), registry.Unit(name))
    except (AttributeError, ValueError, _pint().errors.PintError) as error:
        raise ToolArgumentError(
            "expression", f"{name!r:.60} is neither a function, a constant nor a unit: write it out, or leave it away"
        ) from error


def is_quantity(value: Any) -> bool:
    """Whether a value has a unit."""
    return not isinstance(value, Fraction | float)


def with_units(work: Callable[[], Any]) -> Any:
    """Do arithmetic in which units may not fit; what has none left becomes a plain number.

    Raises:
        ToolArgumentError: the units do not fit.
    """
    errors = _pint().errors
    try:
        value = work()
        if not is_quantity(value):
            return checked(value)
        if not dict(value.unit_items()):
            return _honest(value.magnitude)
        if value.dimensionless and not _is_angle(value):
            return _honest(value.to_base_units().magnitude)
        return _registry().Quantity(_honest(value.magnitude), value.units)
    except errors.DimensionalityError as error:
        raise ToolArgumentError("expression", f"the units do not fit: {error}") from error
    except errors.OffsetUnitCalculusError as error:
        raise ToolArgumentError(
            "expression", "temperatures on a scale can be converted, but not added or multiplied: use kelvin"
        ) from error


def _is_angle(value: Any) -> bool:
    """Whether a value without dimension has a unit of its own all the same, and not only a ratio such as km/m."""
    return len(list(value.unit_items())) == 1


def attached(number: Any, unit: Any) -> Any:
    """So many of a unit: 20 of degC is a temperature, where 20 times degC would be nonsense."""
    if is_quantity(number):
        return with_units(lambda: number * unit)
    return _registry().Quantity(checked(number * unit.magnitude), unit.units)


def converted(value: Any, target: Any) -> Any:
    """The value in another unit.

    Raises:
        ToolArgumentError: there is no way from the one to the other.
    """
    if not is_quantity(target) or target.magnitude != 1:
        raise ToolArgumentError("expression", "what follows 'to' must be a unit, such as km/h")
    if not is_quantity(value):
        value = _registry().Quantity(value, "dimensionless")
    return with_units(lambda: value.to(target.units))


def without_unit(value: Any) -> Number:
    """The plain number; an angle in radians.

    Raises:
        ToolArgumentError: the value has a dimension.
    """
    if not is_quantity(value):
        return checked(value)
    if value.dimensionless:
        return _honest(value.to_base_units().magnitude)
    raise ToolArgumentError("expression", f"a plain number is needed here, not one in {written_unit(value)}")


def written_unit(value: Any, *, short: bool = True) -> str:
    """The unit of a quantity, as it is abbreviated, such as km/h, or in full."""
    registry = _registry()
    over: list[str] = []
    under: list[str] = []
    for name, exponent in value.unit_items():
        shown = registry.get_symbol(name) if short else name
        power = "" if abs(exponent) == 1 else f"^{abs(exponent)}"
        (over if exponent > 0 else under).append(f"{shown}{power}")
    joined = "*".join(over) or ("1" if under else "")
    return joined + "".join(f"/{part}" for part in under)


def _honest(magnitude: Number) -> Number:
    """The magnitude, as a float where the factor was no rational number.

    Pint has π as a decimal fraction of 50 digits: what it was multiplied with has an absurd denominator.
    """
    if isinstance(magnitude, Fraction) and magnitude.denominator > _ABSURD:
        return float(checked(magnitude))
    return checked(magnitude)
