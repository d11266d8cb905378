"""`Calculator`: exact arithmetic, percentages, functions and units, in English or Chinese.

(3 + 4) * 5              35
1/3 + 1/6                0.5
15% of 80                12
三千五百加上百分之二十       3500.2
100 km / 2 h to m/s      125/9 m/s ≈ 13.8888888889 m/s
"""

from fractions import Fraction
from typing import Any

from pydantic import Field

from moesaic.tools.builtin import units
from moesaic.tools.builtin.exact_numbers import written
from moesaic.tools.builtin.expression import evaluate
from moesaic.tools.builtin.expression_text import plain_expression
from moesaic.tools.tool import Tool, ToolArguments
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.tool_result import ToolResult

__all__ = ["Calculator", "CalculatorArguments"]


class CalculatorArguments(ToolArguments):
    """What is to be computed."""

    expression: str = Field(
        min_length=1, max_length=1000, description="Such as (3 + 4) * 5, 15% of 80, sqrt(2), 100 km / 2 h to m/s"
    )


class Calculator(Tool[CalculatorArguments]):
    """Computes; bounded in time and memory whatever it is given, and never runs anything."""

    name = "calculator"
    description = (
        "Compute an expression exactly: + - * / ^ %, fractions, functions (sqrt, log, round, comb, ...), and units "
        "(5 miles to km). 10% means 0.1. Chinese numbers are read."
    )
    description_zh = "精确计算一个算式：加减乘除、乘方、百分数、分数、函数和单位换算（5公里等于多少米）。可用中文数字。"
    arguments = CalculatorArguments
    text_argument = "expression"
    idempotent = True
    gives_foreign_text = False

    async def call(self, arguments: CalculatorArguments, context: ToolContext) -> ToolResult:
        """See `Tool.call`."""
        value = evaluate(plain_expression(arguments.expression))
        number, unit = (value.magnitude, units.written_unit(value)) if units.is_quantity(value) else (value, "")
        exact = isinstance(number, Fraction)
        artifact: dict[str, Any] = {
            "value": f"{number.numerator}/{number.denominator}" if isinstance(number, Fraction) else repr(number),
            "exact": exact,
            "unit": units.written_unit(value, short=False) if unit else "",
        }
        return ToolResult(content=f"{written(number)} {unit}".rstrip(), artifact=artifact)
