"""Programs in each tier that forks: their values, output and errors, and where the limits end them."""

import math
import select
from types import SimpleNamespace

import pytest

from moesaic.errors import InputError, SandboxError
from moesaic.tools.sandbox import ExecutionStatus, Sandbox, SandboxConfig, Tier, exchange
from moesaic.tools.sandbox.exchange import Ending, Exchange
from tests.tools.sandbox.processes import patient

PAL = """
from datetime import date, timedelta
from fractions import Fraction

def solution():
    start = date(2024, 2, 28)
    shares = [Fraction(1, n) for n in (2, 3, 6)]
    print("分数", sum(shares))
    return {"day": start + timedelta(days=2), "total": sum(shares), "half": shares[0]}
"""


def test_a_program_gives_its_value_and_its_output(sandbox: Sandbox) -> None:
    done = sandbox.run(PAL)
    assert done.status is ExecutionStatus.OK
    assert done.value == {"day": "2024-03-01", "total": 1, "half": "1/2"}
    assert (done.stdout, done.stderr, done.error, done.tier) == ("分数 1\n", "", None, sandbox.config.tier)
    assert 0 < done.usage.cpu_s < 30
    assert 0 < done.usage.wall_s < 60
    assert 2**20 < done.usage.max_rss_bytes < 2**30


def test_an_answer_in_time_counts_though_nobody_looked(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process may stand still while a program runs: what the program sent lies in its pipe by then."""
    talk = Exchange.talk

    def look_late(self: Exchange, message: bytes, deadline: float) -> Ending:
        def monotonic() -> float:
            assert select.select([self._child.results], [], [], 60)[0]
            return deadline + 1

        monkeypatch.setattr(exchange, "time", SimpleNamespace(monotonic=monotonic))
        return talk(self, message, deadline)

    monkeypatch.setattr(Exchange, "talk", look_late)
    assert sandbox.run(PAL).status is ExecutionStatus.OK


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("def solution():\n    return 1\nanswer = 2\nresult = 3\n4", 1),
        ("answer = 2\nresult = 3\n4", 2),
        ("result = 3\n4", 3),
        ("x = 4\nx + 1", 5),
        ("x = 4", None),
        ("", None),
        ("import sys\nanswer = 7\nsys.exit()", 7),
        ("solution = 5\nsolution + 1", 5),
        ("solution = None\nanswer = 1", 1),
        ("class answer_:\n    pass\n'answer'", "answer"),
        ("def outer():\n    return inner()\ndef inner():\n    return 8\nouter()", 8),
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\nA(3).x", 3),
        ("[__name__, __builtins__ is not None]", ["__main__", True]),
        ("exit()", "NameError"),
        ("input()", "EOFError"),
    ],
)
def test_where_the_value_comes_from(sandbox: Sandbox, program: str, value: object) -> None:
    done = sandbox.run(program)
    assert (done.error.type if done.error else done.value) == value


@pytest.mark.parametrize(
    ("program", "kind", "message"),
    [
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("def f(:", "SyntaxError", "invalid syntax"),
        ("import sys\nsys.exit('错误')", "SystemExit", "错误"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("def f():\n    return f()\nf()", "RecursionError", "maximum recursion depth"),
        ("class A:\n    def __repr__(self):\n        raise ValueError('no words')\nA()", "ValueError", "no words"),
        ("10 ** 5000", "ValueError", "digits"),
        ("answer = '\\ud800'", None, ""),
    ],
)
def test_errors_are_told_with_their_place(sandbox: Sandbox, program: str, kind: str | None, message: str) -> None:
    done = sandbox.run(program)
    if kind is None:
        assert done.value == "?"
        return
    assert (done.status, done.value) == (ExecutionStatus.ERROR, None)
    assert done.error is not None
    assert done.error.type == kind
    assert message in done.error.message
    assert kind in done.error.traceback
    assert "moesaic" not in done.error.traceback


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        ("import socket\nsocket.socket()", "network access is not allowed"),
        ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')", "network access is not allowed"),
        ("import os\nos.fork()", "starting or signalling processes is not allowed"),
        ("import subprocess\nsubprocess.run(['ls'])", "starting or signalling processes is not allowed"),
        ("import os\nos.kill(1, 9)", "starting or signalling processes is not allowed"),
        ("import threading\nthreading.Thread(target=print).start()", "starting threads is not allowed"),
        ("import pathlib\npathlib.Path('/x').write_text('x')", "file"),
        ("open('/etc/passwd')", "file"),
        ("import torch", "only the standard library, numpy, sympy and dateutil"),
    ],
)
def test_refusals_are_explained(sandbox: Sandbox, program: str, hint: str) -> None:
    done = sandbox.run(program)
    assert done.status is ExecutionStatus.ERROR
    assert done.error is not None
    assert hint in done.error.message


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("while True:\n    pass", ExecutionStatus.TIMEOUT),
        ("import time\ntime.sleep(60)", ExecutionStatus.TIMEOUT),
        (
            "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True:\n    pass",
            ExecutionStatus.TIMEOUT,
        ),
        ("x = 'a' * 10**12", ExecutionStatus.MEMORY),
        ("x = []\nwhile True:\n    x.append('a' * 10**6)", ExecutionStatus.MEMORY),
        ("while True:\n    print('x' * 1000)", ExecutionStatus.OUTPUT_LIMIT),
        ("import os\nwhile True:\n    os.write(2, b'x' * 65536)", ExecutionStatus.OUTPUT_LIMIT),
        ("'x' * 100_000", ExecutionStatus.RESULT_LIMIT),
        ("list(range(100_000))", ExecutionStatus.RESULT_LIMIT),
        ("import os\nos._exit(0)", ExecutionStatus.NO_RESULT),
        ("import os\nos._exit(7)", ExecutionStatus.NO_RESULT),
        ("import ctypes\nctypes.string_at(1)", ExecutionStatus.CRASHED),
        ("import os\nos.abort()", ExecutionStatus.CRASHED),
        ("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)", ExecutionStatus.FORBIDDEN),
        ("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))", ExecutionStatus.ERROR),
    ],
)
def test_each_end_has_its_status(sandbox: Sandbox, program: str, status: ExecutionStatus) -> None:
    # Who ends by itself has all the time that a busy machine takes.
    timeout_s = 1 if status is ExecutionStatus.TIMEOUT else 60
    done = sandbox.run(program, timeout_s=timeout_s, memory_bytes=64 * 2**20)
    assert done.status is status, done
    assert done.value is None
    assert done.error is not None
    assert done.error.message
    assert len(done.stdout) + len(done.stderr) <= sandbox.config.output_bytes
    assert done.usage.wall_s < 60
    assert sandbox.run("1 + 1").value == 2


def test_output_up_to_the_limit_is_kept_and_more_is_not(sandbox: Sandbox) -> None:
    assert sandbox.run("print('x' * 99)", output_bytes=100).status is ExecutionStatus.OK
    over = sandbox.run("import sys\nprint('x' * 60)\nprint('y' * 60, file=sys.stderr)", output_bytes=100)
    assert over.status is ExecutionStatus.OUTPUT_LIMIT
    assert len(over.stdout) + len(over.stderr) == 100
    assert sandbox.run("answer = 1", output_bytes=0).value == 1
    assert sandbox.run("print()", output_bytes=0).status is ExecutionStatus.OUTPUT_LIMIT


def test_bytes_that_are_no_text_are_replaced(sandbox: Sandbox) -> None:
    done = sandbox.run("import os, sys\nos.write(1, b'a\\xff\\xe5b')\nsys.stderr.write('\\udc80')")
    assert (done.stdout, done.stderr) == ("a\ufffd\ufffdb", "\\udc80")


def test_programs_do_not_see_each_other(sandbox: Sandbox) -> None:
    sandbox.run("import builtins, sys\nbuiltins.print = None\nsys.modules['math'] = None\nleft = 1")
    done = sandbox.run("import math\nprint('left' in globals())\nmath.floor(2.5)")
    assert (done.stdout, done.value) == ("False\n", 2)


def test_random_numbers_differ_between_programs(sandbox: Sandbox) -> None:
    drawn = [sandbox.run("import random\nrandom.random()").value for _ in range(3)]
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout_s": 0}, r"timeout_s=0 must be a number from 0.01"),
        ({"timeout_s": math.nan}, "timeout_s"),
        ({"timeout_s": "5"}, "timeout_s='5'"),
        ({"memory_bytes": 1}, "memory_bytes=1"),
        ({"memory_bytes": 10**8 + 0.5}, "whole number"),
        ({"output_bytes": -1}, "output_bytes=-1"),
        ({"output_bytes": True}, "output_bytes=True"),
    ],
)
def test_limits_out_of_range_are_refused(open_sandbox: Sandbox, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_sandbox.run("1", **arguments)  # type: ignore[arg-type]


def test_a_program_must_be_text_of_limited_length(open_sandbox: Sandbox) -> None:
    with pytest.raises(InputError, match="not bytes"):
        open_sandbox.run(b"1")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="program_bytes=262144"):
        open_sandbox.run("#" + "字" * 100_000)
    assert open_sandbox.run("#" + "字" * 80_000 + "\n3").value == 3


@pytest.mark.parametrize("field", ["timeout_s", "spares", "concurrency", "scratch_bytes", "heartbeat_s"])
def test_a_configuration_is_checked(field: str) -> None:
    with pytest.raises(InputError, match=f"{field}=-1 must be"):
        SandboxConfig(**{field: -1})  # type: ignore[arg-type]


def test_the_tier_of_a_configuration_is_checked() -> None:
    assert SandboxConfig(tier="seccomp").tier is Tier.SECCOMP  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'docker' must be one of namespaces, seccomp, monty"):
        SandboxConfig(tier="docker")  # type: ignore[arg-type]


def test_a_closed_sandbox_says_so() -> None:
    sandbox = Sandbox(patient(spares=0))
    assert sandbox.run("1").value == 1
    sandbox.close()
    sandbox.close()
    with pytest.raises(SandboxError, match="closed"):
        sandbox.run("1")


@pytest.mark.parametrize("name", ["len", "repr", "float", "id"])
def test_a_shadowed_builtin_does_not_keep_the_outcome_back(sandbox: Sandbox, name: str) -> None:
    done = sandbox.run(f"import builtins\nbuiltins.{name} = None\nraise ValueError")
    assert done.status is ExecutionStatus.ERROR
