"""Programs of one request in one process: apart from each other, in order, and alone after one has failed badly."""

import pytest

from moesaic.errors import InputError
from moesaic.tools.sandbox import ExecutionStatus, Sandbox


def test_each_program_has_a_namespace_and_output_of_its_own(sandbox: Sandbox) -> None:
    programs = [
        f"print({n})\nleft_{n} = {n}\nanswer = [name for name in dir() if name[:4] == 'left']" for n in range(6)
    ]
    done = sandbox.run_batch(programs)
    assert [item.value for item in done] == [[f"left_{n}"] for n in range(6)]
    assert [item.stdout for item in done] == [f"{n}\n" for n in range(6)]
    assert all(item.ok and item.usage.max_rss_bytes > 0 for item in done)


def test_what_one_program_bends_is_straight_for_the_next(sandbox: Sandbox) -> None:
    bent = (
        "import builtins, decimal, sys\nbuiltins.len = lambda x: 0\nbuiltins.extra = 1\nsys.setrecursionlimit(60)\n"
        "sys.stdout = None\ndecimal.getcontext().prec = 2\nsys.settrace(lambda *a: None)\nsys.path.clear()"
    )
    straight = (
        "import decimal, sys\nprint('seen')\n"
        "answer = [len('abc'), 'extra' in dir(__builtins__), sys.getrecursionlimit(), str(decimal.Decimal(1) / 3),"
        " bool(sys.path)]"
    )
    first, second = sandbox.run_batch([bent, straight])
    assert first.ok
    assert second.value == [3, False, 1000, "0." + "3" * 28, True]
    assert second.stdout == "seen\n"


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        ("while True:\n    pass  # for ever", ExecutionStatus.TIMEOUT),
        ("import os\nos._exit(1)", ExecutionStatus.NO_RESULT),
        ("import ctypes\nctypes.string_at(1)", ExecutionStatus.CRASHED),
        ("import os\nos.write(3, b'\\0\\0\\0\\2{}')", ExecutionStatus.NO_RESULT),
        ("while True:\n    print('x' * 1000)", ExecutionStatus.OUTPUT_LIMIT),
    ],
)
@pytest.mark.usefixtures("loops_end_soon")
def test_after_a_bad_end_the_rest_run_alone(sandbox: Sandbox, bad: str, status: ExecutionStatus) -> None:
    alone = "import os, sys\nseen = getattr(sys, 'mark', None)\nsys.mark = 1\nanswer = seen"
    done = sandbox.run_batch([alone, alone, bad, alone, alone])
    assert [item.status for item in done[2:]] == [status, ExecutionStatus.OK, ExecutionStatus.OK]
    # The first two shared a process, those after the bad one did not.
    assert [item.value for item in done] == [None, 1, None, None, None]


def test_an_error_or_a_limit_of_its_own_does_not_part_the_rest(sandbox: Sandbox) -> None:
    marks = "import sys\nseen = getattr(sys, 'mark', 0)\nsys.mark = seen + 1\nanswer = seen"
    done = sandbox.run_batch([marks, "1 / 0", marks, "x = 'a' * 10**13", marks, "'x' * 10**6", marks])
    statuses = [item.status.value for item in done]
    assert statuses == ["ok", "error", "ok", "memory", "ok", "result_limit", "ok"]
    assert [item.value for item in done[::2]] == [0, 1, 2, 3]


def test_processor_time_is_counted_for_each_program(sandbox: Sandbox) -> None:
    # The process's own clock, which is the one that is read from outside: a machine that stands still, and charges
    # that to whoever runs, moves both.
    clock = "import time\nanswer = time.process_time()"
    work = "import time\nbegan = time.process_time()\nwhile time.process_time() < began + 0.3:\n    pass\n"
    light, heavy, last, after = sandbox.run_batch(["1", f"{work}answer = [began, time.process_time()]", "2", clock])
    began, ended = heavy.value
    assert 0 < light.usage.cpu_s <= began
    assert heavy.usage.cpu_s >= ended - began >= 0.3
    assert light.usage.cpu_s + heavy.usage.cpu_s + last.usage.cpu_s <= after.value
    assert heavy.usage.wall_s >= 0.99 * (ended - began)  # two clocks, one of which is trimmed


def test_a_long_batch_outlives_the_processor_time_of_one_child(open_sandbox: Sandbox) -> None:
    # A child has processor time for about four programs that use all of theirs; then the next one goes on.
    work = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end:\n    pass\nanswer = 1"
    timeout_s = 4 * open_sandbox.config.timeout_s
    assert [item.value for item in open_sandbox.run_batch([work] * 8, timeout_s=timeout_s)] == [1] * 8


def test_an_empty_batch_is_empty_and_a_wrong_one_is_refused(open_sandbox: Sandbox) -> None:
    assert open_sandbox.run_batch([]) == []
    with pytest.raises(InputError, match="not int"):
        open_sandbox.run_batch(["1", 2])  # type: ignore[list-item]
