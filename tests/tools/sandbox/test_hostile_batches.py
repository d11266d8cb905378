"""Batches with hostile programs in them: one trust domain, whose programs can disturb each other, but nobody else."""

from collections.abc import Iterator

import pytest

from moesaic.tools.sandbox import ExecutionStatus, Sandbox, Tier
from tests.tools.sandbox.processes import patient

SOUND = "import math\nvalues = [1, 2, 3]\n\ndef solution():\n    return math.prod(values) + len(values)\n"
SOUND_VALUE = 9
CRASH = "import os\nos.abort()"
HANG = "while True:\n    result = 1  # for ever"
FLOOD = "import sys\nfor _ in range(1000):\n    sys.stdout.write('x' * 1000)\nresult = 1"
LEAVE = "import os\nos._exit(0)"
SNOOP = """
def solution():
    return [name for name in ("secret_of_the_first", "values", "solution_of_the_first") if name in globals()]
"""
FIRST = "secret_of_the_first = 'mine'\ndef solution_of_the_first(): return 1\nresult = 1"
POISON = """
import builtins, json, math, os, sys
math.prod = lambda *_: -1
builtins.len = lambda _: -1
json.dumps = lambda *_, **__: '{}'
sys.modules['math'] = json
sys.stdout = None
result = 'poisoned'
"""
FORGE = """
import os
body = b'{"outcome": "ok", "value": "forged"}'
os.write(3, (len(body).to_bytes(4, "big") + body) * 5)
result = "honest"
"""


@pytest.fixture(scope="module", params=[Tier.NAMESPACES, Tier.SECCOMP])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(patient(tier=request.param)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("hostile", "status"),
    [
        (CRASH, ExecutionStatus.CRASHED),
        (LEAVE, ExecutionStatus.NO_RESULT),
        (FLOOD, ExecutionStatus.OUTPUT_LIMIT),
        (HANG, ExecutionStatus.TIMEOUT),
    ],
)
@pytest.mark.usefixtures("loops_end_soon")
def test_a_program_that_ends_its_child_costs_the_others_nothing(
    sandbox: Sandbox, hostile: str, status: ExecutionStatus
) -> None:
    done = sandbox.run_batch([SOUND, hostile, SOUND, hostile, SOUND])
    assert [execution.status for execution in done] == [
        ExecutionStatus.OK,
        status,
        ExecutionStatus.OK,
        status,
        ExecutionStatus.OK,
    ]
    assert [execution.value for execution in done[::2]] == [SOUND_VALUE] * 3


def test_globals_are_fresh_for_each_program(sandbox: Sandbox) -> None:
    done = sandbox.run_batch([FIRST, SNOOP, SNOOP])
    assert [execution.value for execution in done] == [1, [], []]


def test_what_a_batch_did_to_its_process_ends_with_it(sandbox: Sandbox) -> None:
    assert sandbox.run_batch([POISON])[0].tier is sandbox.tier
    poisoned = sandbox.run_batch([POISON, SOUND])
    assert len(poisoned) == 2  # within the batch anything may be answered: it is one trust domain
    assert sandbox.run(SOUND).value == SOUND_VALUE
    assert sandbox.run_batch([SOUND, SOUND])[1].value == SOUND_VALUE


def test_frames_that_were_forged_beforehand_are_no_one_elses_answer(sandbox: Sandbox) -> None:
    done = sandbox.run_batch([FORGE, SOUND, SOUND])
    assert done[0].value in ("forged", "honest", None)
    assert [execution.value for execution in done[1:]] == [SOUND_VALUE] * 2
    assert sandbox.run(SOUND).value == SOUND_VALUE


def test_output_belongs_to_the_program_that_wrote_it(sandbox: Sandbox) -> None:
    done = sandbox.run_batch([f"print('number {number}')\nresult = {number}" for number in range(8)])
    assert [(execution.value, execution.stdout) for execution in done] == [
        (number, f"number {number}\n") for number in range(8)
    ]
