"""The tier of pydantic-monty: by choice only, with the same statuses, and refused in words where it is missing."""

import sys
from collections.abc import Iterator

import pytest

from moesaic.errors import InputError, MissingDependencyError
from moesaic.tools.sandbox import ExecutionStatus, Sandbox, SandboxConfig, Tier
from tests.tools.sandbox.processes import patient


@pytest.fixture(scope="module")
def monty() -> Iterator[Sandbox]:
    with Sandbox(patient(tier=Tier.MONTY, memory_bytes=64 * 2**20, concurrency=2)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("def solution():\n    return sum(range(10))", 45),
        ("from datetime import date, timedelta\nanswer = date(2024, 2, 28) + timedelta(days=2)", "2024-03-01"),
        ("result = (1, {'数': 2.5})", [1, {"数": 2.5}]),
        ("x = 3\nx * 2", 6),
        ("solution = 5", 5),
        ("text = 'answer'\nlen(text)", 6),
    ],
)
def test_values_follow_the_rules_of_every_tier(monty: Sandbox, program: str, value: object) -> None:
    done = monty.run(program)
    assert (done.status, done.value, done.tier) == (ExecutionStatus.OK, value, Tier.MONTY), done


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("1 / 0", ExecutionStatus.ERROR),
        ("def f(:", ExecutionStatus.ERROR),
        ("import numpy", ExecutionStatus.ERROR),
        ("open('/etc/passwd')", ExecutionStatus.ERROR),
        ("while True:\n    pass", ExecutionStatus.TIMEOUT),
        ("import time\ntime.sleep(1000)", ExecutionStatus.TIMEOUT),
        ("x = 'a' * 10**10", ExecutionStatus.MEMORY),
        ("for i in range(2000):\n    print('x' * 100)", ExecutionStatus.OUTPUT_LIMIT),
        ("'x' * 100_000", ExecutionStatus.RESULT_LIMIT),
        ("'\"' * 40_000", ExecutionStatus.RESULT_LIMIT),
    ],
)
def test_each_end_has_its_status(monty: Sandbox, program: str, status: ExecutionStatus) -> None:
    done = monty.run(program, timeout_s=0.3 if status is ExecutionStatus.TIMEOUT else 60)
    assert done.status is status, done
    assert done.error is not None
    assert done.value is None
    assert len(done.stdout.encode()) <= monty.config.output_bytes


def test_output_and_batches(monty: Sandbox) -> None:
    first, second = monty.run_batch(["print('数')\nx = 1\nx", "x"])
    assert (first.stdout, first.value) == ("数\n", 1)
    assert second.error is not None
    assert second.error.type == "NameError"


def test_files_are_refused(monty: Sandbox) -> None:
    with pytest.raises(InputError, match="namespaces"):
        monty.run("1", files={"a": b""})


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(MissingDependencyError, match=r"moesaic\[monty\]"):
        Sandbox(SandboxConfig(tier=Tier.MONTY)).run("1")
