"""A worked solution of a word problem as a program that computes it.

Gao et al., "PAL: Program-aided Language Models" (arXiv:2211.10435), section 3: the model writes steps of reasoning as
statements and leaves the arithmetic to an interpreter. How this differs: PAL's programs are written by people for a
prompt; here they are derived from solutions that are annotated with their arithmetic, `<<48/2=24>>` (Cobbe et al.,
arXiv:2110.14168, appendix C), and only those are kept whose steps and answer come out.

- A number that an earlier step gave and the question does not state becomes that step's name.
- Nothing is executed: an expression is read as arithmetic (+ - * / // % ** and brackets) or refused.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple

from moesaic.errors import CorpusError

__all__ = ["WorkedProgram", "worked_program"]

_ANNOTATION = re.compile(r"<<([^<>=]*)=([^<>]*)>>")
_ANSWER = re.compile(r"####\s*(.+?)\s*\Z")
_NUMBER = re.compile(r"(?<![\w.])(?:\d+(?:\.\d*)?|\.\d+)(?![\w])")
_MOST_POWER = 64
_NEAR = Fraction(1, 100)
_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda left, right: Fraction(left // right),
    ast.Mod: operator.mod,
}


class WorkedProgram(NamedTuple):
    """A program, and the number that its `solution()` returns."""

    text: str
    answer: Fraction


def worked_program(question: str, solution: str) -> WorkedProgram:
    """Make a program of a solution.

    Raises:
        CorpusError: there is no annotation or no answer behind `####`, an expression is no arithmetic, or a step or the
            answer does not come out.
    """
    stated = _ANSWER.search(solution)
    if stated is None:
        raise CorpusError(f"the solution ends with {solution[-40:]!r}, not with #### and a number")
    answer = _number(stated[1])
    given = {Fraction(found) for found in _NUMBER.findall(question.replace(",", ""))}
    names: dict[Fraction, str] = {}
    lines: list[str] = []
    value = Fraction(0)
    for sentence in solution[: stated.start()].splitlines():
        steps = _ANNOTATION.findall(sentence)
        shown = " ".join(_ANNOTATION.sub("", sentence).split())
        if shown:
            lines.append(f"# {shown}")
        for expression, result in steps:
            value = _evaluated(expression)
            if abs(value - _number(result)) > _NEAR:
                raise CorpusError(f"the step {expression}={result} gives {float(value):g}")
            name = f"step_{sum(line.startswith('step_') for line in lines) + 1}"
            lines.append(f"{name} = {_named(expression, names, given)}")
            names[_number(result)] = name
    if not names:
        raise CorpusError("the solution has no annotated arithmetic, <<expression=number>>")
    if abs(value - answer) > _NEAR:
        raise CorpusError(f"the last step gives {float(value):g}, the answer is {stated[1]}")
    last = next(line for line in reversed(lines) if line.startswith("step_")).partition(" ")[0]
    body = "\n".join(f"    {line}" for line in [*lines, f"return {last}"])
    return WorkedProgram(text=f"def solution():\n{body}\n", answer=answer)


def _named(expression: str, names: Mapping[Fraction, str], given: set[Fraction]) -> str:
    """The expression in Python's spelling, earlier results by their names."""

    def renamed(found: re.Match[str]) -> str:
        number = Fraction(found[0])
        return names[number] if number in names and number not in given else _spelt(found[0])

    text = _NUMBER.sub(renamed, _plain(expression))
    return ast.unparse(ast.parse(text, mode="eval"))


def _spelt(number: str) -> str:
    """Python refuses numbers with leading zeros."""
    return re.sub(r"^0+(?=\d)", "", number)


def _plain(expression: str) -> str:
    return expression.replace(",", "").replace("$", "").strip()


def _number(text: str) -> Fraction:
    try:
        return Fraction(_plain(text).rstrip("."))
    except (ValueError, ZeroDivisionError) as error:
        raise CorpusError(f"{text[:40]!r} is no number") from error


def _evaluated(expression: str) -> Fraction:
    text = _NUMBER.sub(lambda found: _spelt(found[0]), _plain(expression))
    try:
        return _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, OverflowError) as error:
        raise CorpusError(f"{expression[:60]!r} is no arithmetic ({error})") from error


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Fraction(str(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            exponent = _value(right)
            if exponent.denominator != 1 or abs(exponent) > _MOST_POWER:
                raise ValueError(f"a power of {float(exponent):g}")
            return Fraction(_value(left) ** int(exponent))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
    raise ValueError(f"{ast.unparse(node)[:40]!r} is neither a number nor + - * / // % **")
