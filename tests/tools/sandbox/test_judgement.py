"""The judge of the hostile programs can fail: planted breaches, in what a run reports and in what it did outside."""

import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moesaic.tools.sandbox import Execution, ExecutionStatus, ProgramError, Tier, Usage
from tests.tools.sandbox.host_canaries import HostCanaries
from tests.tools.sandbox.hostile_program import HostileProgram
from tests.tools.sandbox.judgement import Ruling, breaches_of, flaws_of_refusal
from tests.tools.sandbox.processes import eventually

SECRET = "moesaic-canary-0123456789abcdef0123456789abcdef"
RULING = Ruling(tier=Tier.SECCOMP, secret=SECRET, host_name="castle", output_bytes=100, result_bytes=1000, seconds=0.1)
FIELDS = {"Class": "files", "Must": "no-host-file, no-host-name", "Status": "ok, error", "Value": "[]", "Timeout": "1"}
PROGRAM = HostileProgram("001_sample", "", FIELDS)
SOUND = Execution(
    status=ExecutionStatus.OK,
    value=[],
    stdout="",
    stderr="",
    error=None,
    usage=Usage(wall_s=0.1, cpu_s=0.1, max_rss_bytes=1 << 20),
    tier=Tier.SECCOMP,
)


def error(text: str) -> ProgramError:
    return ProgramError(type="ValueError", message=text)


def test_what_was_contained_passes() -> None:
    assert breaches_of(PROGRAM, SOUND, RULING) == []
    failed = replace(SOUND, status=ExecutionStatus.ERROR, value=None, error=error("refused"))
    assert breaches_of(PROGRAM, failed, RULING) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"value": ["/etc/passwd"]}, "it answered"),
        ({"status": ExecutionStatus.CRASHED, "value": None}, "it ended as crashed"),
        ({"value": [SECRET]}, "told the secret"),
        ({"stdout": f"found {SECRET}"}, "told the secret"),
        ({"stderr": SECRET[::-1]}, "told the secret"),
        ({"status": ExecutionStatus.ERROR, "error": error(SECRET[-30:])}, "told the secret"),
        ({"stdout": "I am castle"}, "machine's name"),
        ({"value": [float("nan")]}, "no JSON"),
        ({"value": (1, 2)}, "no JSON"),
        ({"value": {1: 2}}, "no JSON"),
        ({"value": ["\ud800"]}, "no JSON"),
        ({"value": ["x" * 9000]}, "larger than a result"),
        ({"stdout": "\ud800"}, "halves of characters"),
        ({"stderr": "x" * 5000}, "5000 bytes"),
        ({"status": ExecutionStatus.ERROR, "error": error("x" * 80_000)}, "its error has"),
        ({"usage": Usage(wall_s=-1.0, cpu_s=0.0, max_rss_bytes=0)}, "wall_s is -1.0"),
        ({"usage": Usage(wall_s=0.0, cpu_s=float("nan"), max_rss_bytes=0)}, "cpu_s is nan"),
        ({"tier": Tier.MONTY}, "it ran in the tier"),
    ],
)
def test_a_planted_breach_is_found(changes: dict[str, Any], fault: str) -> None:
    assert fault in "\n".join(breaches_of(PROGRAM, replace(SOUND, **changes), RULING))


def test_a_run_that_outlasts_its_limit_is_a_breach() -> None:
    assert "it took 70.0 s" in breaches_of(PROGRAM, SOUND, replace(RULING, seconds=70.0))


def test_only_programs_that_may_be_refused_are() -> None:
    assert flaws_of_refusal(PROGRAM, Tier.SECCOMP)
    assert not flaws_of_refusal(HostileProgram("001_sample", "", FIELDS | {"Status": "refused"}), Tier.SECCOMP)


def test_a_number_may_have_a_limit_and_a_tier_its_own_expectation() -> None:
    bomb = HostileProgram("001_sample", "", FIELDS | {"Value": "at most 5", "Value in monty": "[1]"})
    assert bomb.admits(5, "seccomp")
    assert not bomb.admits(6, "seccomp")
    assert not bomb.admits("5", "seccomp")
    assert bomb.admits([1], "monty")
    assert bomb.statuses("monty") == {"ok", "error"}


@pytest.fixture
def canaries() -> Iterator[HostCanaries]:
    with HostCanaries() as made:
        yield made


def test_nothing_happened(canaries: HostCanaries) -> None:
    assert canaries.harm() == []
    assert canaries.orphans() == []


def call_tcp(names: dict[str, str]) -> None:
    with socket.create_connection(("127.0.0.1", int(names["PORT"]))) as stream:
        stream.sendall(names["MARK"].encode())


def call_udp(names: dict[str, str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.sendto(names["MARK"].encode(), ("127.0.0.1", int(names["PORT"])))


def call_abstract(names: dict[str, str]) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect("\0" + names["ABSTRACT"])


def leave_file(names: dict[str, str]) -> None:
    with open(f"{names['FOLDER']}/{names['MARK']}", "w") as file:
        file.write("here")


def change_secret(names: dict[str, str]) -> None:
    with open(names["FILE"], "a") as file:
        file.write("x")


def change_times(names: dict[str, str]) -> None:
    os.utime(names["FILE"], (1, 1))


def signal_process(names: dict[str, str]) -> None:
    os.kill(int(names["PID"]), signal.SIGUSR1)


def stop_process(names: dict[str, str]) -> None:
    os.kill(int(names["PID"]), signal.SIGSTOP)
    assert eventually(lambda: "\nState:\tT" in Path(f"/proc/{names['PID']}/status").read_text())


def signal_caller(names: dict[str, str]) -> None:
    os.kill(int(names["PARENT"]), signal.SIGUSR1)


def reprioritise(names: dict[str, str]) -> None:
    os.setpriority(os.PRIO_PROCESS, int(names["PID"]), 19)
    os.sched_setscheduler(int(names["PID"]), os.SCHED_IDLE, os.sched_param(0))


HARMS: dict[str, Callable[[dict[str, str]], None]] = {
    "TCP canary was called: b'": call_tcp,
    "UDP canary was called": call_udp,
    "abstract socket canary was called": call_abstract,
    "was made": leave_file,
    "secret file changed": change_secret,
    "saw signals": signal_process,
    "in the state T": stop_process,
    "caller of the sandbox was signalled": signal_caller,
    "canary process changed": reprioritise,
}


@pytest.mark.parametrize("found", HARMS)
def test_harm_outside_is_found(canaries: HostCanaries, found: str) -> None:
    HARMS[found](canaries.names("042"))
    assert eventually(lambda: found in "\n".join(canaries.harm()))  # some of it arrives when others have run


def test_shared_memory_that_is_left_is_found(canaries: HostCanaries) -> None:
    libc = ctypes.CDLL(None)
    segment = libc.shmget(int(canaries.names("042")["KEY"]) + 1, 4096, 0o1600)
    assert segment >= 0
    harm = "\n".join(canaries.harm())
    libc.shmctl(segment, 0, None)
    assert "shared segments changed" in harm


def test_changed_times_are_found(canaries: HostCanaries) -> None:
    change_times(canaries.names("042"))
    assert "secret file changed" in "\n".join(canaries.harm())


def test_a_process_that_lives_on_is_found(canaries: HostCanaries) -> None:
    with subprocess.Popen(["sleep", "600"]) as left:
        assert canaries.orphans(grace_s=0) == [f"process {left.pid} lives on"]
        left.kill()
