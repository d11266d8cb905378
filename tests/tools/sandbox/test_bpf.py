"""The assembler: what a table of rules says is what the program decides, for every number and argument."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.tools.sandbox.bpf import ALLOW, KILL_PROCESS, Check, Checks, Rule, assemble, errno_action
from tests.tools.sandbox.filter_machine import decide

ARCHITECTURE, REFUSED = 0xC000003E, errno_action(errno.EPERM)

checks = st.one_of(
    st.builds(
        lambda argument, values: Check(argument=argument, values=tuple(values)),
        st.integers(0, 5),
        st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), min_size=1, max_size=6, unique=True),
    ),
    st.builds(lambda argument, below: Check(argument=argument, below=below), st.integers(0, 5), st.integers(1, 50)),
    st.builds(lambda argument, bits: Check(argument=argument, without=bits), st.integers(0, 5), st.integers(1, 63)),
)
rules_of_one_call = st.sampled_from([ALLOW, KILL_PROCESS, errno_action(errno.ENOSYS)]) | st.builds(
    lambda found: Checks(checks=tuple(found)), st.lists(checks, min_size=1, max_size=3)
)
arguments_of_a_call = st.tuples(*[st.integers(0, 2**64 - 1) | st.integers(0, 60)] * 6)


def expected(rule: Rule, arguments: tuple[int, ...]) -> int:
    if isinstance(rule, int):
        return rule
    return ALLOW if all(holds(check, arguments[check.argument]) for check in rule.checks) else rule.otherwise


def holds(check: Check, value: int) -> bool:
    if check.without is not None:
        return not value & check.without
    return value < check.below if check.below is not None else value in check.values


@given(st.dictionaries(st.integers(0, 460), rules_of_one_call, max_size=25), arguments_of_a_call)
def test_every_call_gets_the_action_of_its_rule(rules: dict[int, Rule], arguments: tuple[int, ...]) -> None:
    program = assemble(rules, architecture=ARCHITECTURE, default=REFUSED, other_tables_from=0x40000000)
    for number in {0, 461, 2**30 - 1, *rules, *(number + 1 for number in rules), *(max(0, n - 1) for n in rules)}:
        made = decide(program, number=number, architecture=ARCHITECTURE, arguments=arguments)
        assert made == expected(rules.get(number, REFUSED), arguments)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_other_architectures_and_tables_end_the_process(number: int, architecture: int) -> None:
    program = assemble({1: ALLOW}, architecture=ARCHITECTURE, default=REFUSED, other_tables_from=0x40000000)
    if architecture != ARCHITECTURE:
        assert decide(program, number=number, architecture=architecture) == KILL_PROCESS
    other = decide(program, number=number | 0x40000000, architecture=ARCHITECTURE)
    assert other == KILL_PROCESS


def test_a_value_counts_in_all_its_bits() -> None:
    checked = Checks(checks=(Check(argument=1, values=(0x5401,)),))
    program = assemble({16: checked}, architecture=ARCHITECTURE, default=REFUSED, other_tables_from=None)
    for value, action in ((0x5401, ALLOW), (1 << 32 | 0x5401, REFUSED), (0x5412, REFUSED), (0, REFUSED)):
        assert decide(program, number=16, architecture=ARCHITECTURE, arguments=(0, value)) == action


def test_a_jump_that_would_be_too_long_is_refused_and_not_cut() -> None:
    many = {
        number: Checks(checks=(Check(argument=0, values=tuple(range(number, number + 40))),))
        for number in range(0, 40, 2)
    }
    with pytest.raises(AssertionError, match="too many"):
        assemble(many, architecture=ARCHITECTURE, default=REFUSED, other_tables_from=None)


def test_the_encoding_is_the_kernels() -> None:
    program = assemble({}, architecture=7, default=ALLOW, other_tables_from=None)
    # ld [4]; jeq #7, 1, 0; ret #KILL; ld [0]; ret #ALLOW
    assert program == struct.pack(
        "=HBBIHBBIHBBIHBBIHBBI",
        *(0x20, 0, 0, 4),
        *(0x15, 1, 0, 7),
        *(0x06, 0, 0, 0x80000000),
        *(0x20, 0, 0, 0),
        *(0x06, 0, 0, 0x7FFF0000),
    )
