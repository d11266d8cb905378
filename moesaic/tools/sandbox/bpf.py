"""An assembler for system-call filters: a table of rules becomes a program of classic BPF.

1. The program first checks the machine's architecture, then finds the call's number by bisection: every number between
   two rules has an answer, so that a call that nobody thought of gets the default.
2. A rule may depend on arguments, compared in all 64 bits: the kernel hands a filter both halves, and a comparison of
   one half only is how filters have been slipped past (CVE-2019-10063).
3. No library is needed, and the program is short: about 290 instructions, of which a call meets a dozen. That matters,
   since it runs at every call.

Source: the kernel's Documentation/userspace-api/seccomp_filter.rst, and linux/seccomp.h for the values.
"""

import errno
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["ALLOW", "KILL_PROCESS", "Check", "Checks", "Rule", "assemble", "errno_action"]

ALLOW = 0x7FFF0000
"""The call is made."""
KILL_PROCESS = 0x80000000
"""The process ends with SIGSYS."""
_ERRNO = 0x00050000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_LONGEST_JUMP = 255
_LAST_NUMBER = 0xFFFFFFFF

_Instruction = tuple[int, int, int, int]


def errno_action(code: int) -> int:
    """The call fails with this error."""
    return _ERRNO | code


@dataclass(frozen=True, kw_only=True)
class Check:
    """What one argument must be, in all its 64 bits; exactly one of the three is given."""

    argument: int
    """Which argument, from 0."""
    values: Sequence[int] = ()
    """It is one of these."""
    below: int | None = None
    """It is less than this, which has at most 32 bits."""
    without: int | None = None
    """It has none of these low 32 bits set; what stands in the upper half does not matter to the kernel then."""


@dataclass(frozen=True, kw_only=True)
class Checks:
    """The call is allowed if every check holds."""

    checks: Sequence[Check]
    """At least one."""
    otherwise: int = errno_action(errno.EPERM)
    """What happens else."""


Rule = int | Checks
"""What happens at a call: an action, or what its arguments decide."""


def assemble(rules: Mapping[int, Rule], *, architecture: int, default: int, other_tables_from: int | None) -> bytes:
    """The program that does `rules` (number of a call -> rule), and `default` for all other calls.

    Args:
        rules: what happens at each call.
        architecture: the machine's AUDIT_ARCH value; calls of another one (int 0x80) end the process.
        default: the action of calls without a rule.
        other_tables_from: calls from this number on end the process (x86-64's second table, x32); None if there is
            no such table.

    Raises:
        AssertionError: a jump would be longer than classic BPF can say.
    """
    table: dict[int, Rule] = dict(rules)
    spans: list[tuple[int, Rule]] = []  # (first number, rule), each up to the next one's first
    ends = {number + 1 for number in table}
    for number in sorted({0, *table, *ends}):
        rule = table.get(number, default)
        if not spans or spans[-1][1] != rule:
            spans.append((number, rule))
    if other_tables_from is not None:
        spans = [span for span in spans if span[0] < other_tables_from]
        spans.append((other_tables_from, KILL_PROCESS))
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        *_bisection(spans),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _bisection(spans: Sequence[tuple[int, Rule]]) -> list[_Instruction]:
    if len(spans) == 1:
        return _leaf(spans[0][1])
    middle = len(spans) // 2
    below, above = _bisection(spans[:middle]), _bisection(spans[middle:])
    assert len(below) <= _LONGEST_JUMP, f"{len(below)} instructions are too many to jump over"
    return [(_JUMP_AT_LEAST, len(below), 0, spans[middle][0]), *below, *above]


def _leaf(rule: Rule) -> list[_Instruction]:
    """Allows behind the last check; every check that fails jumps behind that, to what happens otherwise."""
    if isinstance(rule, int):
        return [(_RETURN, 0, 0, rule)]

    program: list[_Instruction] = [(_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, rule.otherwise)]
    for check in reversed(rule.checks):
        program = [*_checked(check, to_failure=len(program) - 1), *program]
    return program


def _checked(check: Check, *, to_failure: int) -> list[_Instruction]:
    """Falls through if the check holds, else jumps over `to_failure` instructions that follow it."""
    low = _ARGUMENTS + 8 * check.argument  # both architectures are little-endian
    load_low, load_high = (_LOAD, 0, 0, low), (_LOAD, 0, 0, low + 4)
    if check.without is not None:
        return [load_low, (_JUMP_ANY_BIT, to_failure, 0, check.without)]
    if check.below is not None:
        return [
            load_high,
            (_JUMP_EQUAL, 0, to_failure + 2, 0),
            load_low,
            (_JUMP_AT_LEAST, to_failure, 0, check.below),
        ]
    program: list[_Instruction] = []
    for value in reversed(check.values):
        rest = len(program)
        # The last value's failure is the check's; that of the others is the next value.
        missed = to_failure if rest == 0 else 0
        program = [
            load_high,
            (_JUMP_EQUAL, 0, missed + 2, value >> 32),
            load_low,
            (_JUMP_EQUAL, rest, missed, value & 0xFFFFFFFF),
            *program,
        ]
    return program
