"""What fails outside of a program: every fault has its outcome, and the next program runs."""

import gc
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from moesaic.errors import SandboxUnavailableError
from moesaic.tools.sandbox import ExecutionStatus, Sandbox, Tier
from moesaic.tools.sandbox.bpf import ALLOW, assemble
from moesaic.tools.sandbox.child_process import ChildProcess
from moesaic.tools.sandbox.nursery import Nursery, usual_limits
from moesaic.tools.sandbox.syscalls import machine
from moesaic.tools.sandbox.tiers import FORKING_TIERS, make_plan
from moesaic.tools.sandbox.zygote_process import ZygoteProcess
from tests.repository import ROOT
from tests.tools.sandbox.processes import (
    FOREVER,
    descendants,
    eventually,
    family,
    is_running,
    open_descriptors,
    patient,
    running_programs,
    spares_have_come,
    zygote_pid,
)

JOIN_S = 60


def none_runs(pids: list[int]) -> bool:
    return not any(map(is_running, pids))


def others_are_at_rest() -> Callable[[], bool]:
    """Tells whether the sandboxes that other tests left open have all their spares: one that came later would count."""
    open_ones = [found for found in gc.get_objects() if type(found) is Nursery and not found._closed]
    return lambda: all(spare.done() for nursery in open_ones for spare in list(nursery._spares))


def running_for_ever(sandbox: Sandbox, results: list[object]) -> threading.Thread:
    """A thread whose program runs by now."""
    thread = threading.Thread(target=lambda: results.append(sandbox.run(FOREVER, timeout_s=600)))
    thread.start()
    assert eventually(lambda: bool(running_programs(sandbox)))
    return thread


@pytest.mark.parametrize("tier", FORKING_TIERS)
def test_a_zygote_that_dies_takes_its_programs_and_the_next_one_runs(tier: Tier) -> None:
    with Sandbox(patient(tier=tier)) as sandbox:
        results: list[object] = []
        thread = running_for_ever(sandbox, results)
        killed = zygote_pid(sandbox)
        os.kill(killed, signal.SIGKILL)
        thread.join(JOIN_S)
        (done,) = results
        assert done.status is ExecutionStatus.CRASHED  # type: ignore[attr-defined]
        assert "the sandbox's own process ended" in done.error.message  # type: ignore[attr-defined]
        assert sandbox.run("1 + 1").value == 2
        assert zygote_pid(sandbox) != killed


def test_spares_of_a_dead_zygote_are_not_used(open_sandbox: Sandbox) -> None:
    for _ in range(3):
        assert open_sandbox.run("1").value == 1
        zygote = zygote_pid(open_sandbox)
        family = [zygote, *descendants(zygote)]
        os.kill(zygote, signal.SIGKILL)
        assert eventually(partial(none_runs, family))
        assert open_sandbox.run("2").value == 2


def test_a_child_that_dies_is_a_program_that_died(open_sandbox: Sandbox) -> None:
    results: list[object] = []
    thread = running_for_ever(open_sandbox, results)
    zygote = zygote_pid(open_sandbox)
    (running,) = running_programs(open_sandbox)
    os.kill(running, signal.SIGKILL)
    thread.join(JOIN_S)
    assert results[0].status is ExecutionStatus.MEMORY  # type: ignore[attr-defined]
    assert zygote_pid(open_sandbox) == zygote


def test_a_zygote_that_does_not_answer_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    silent: list[ZygoteProcess] = []

    def heard_at(zygote: ZygoteProcess) -> float:
        """The others have always answered just now: on a busy machine they may take longer than their heart-beat."""
        return vars(zygote)["_heard_at"] if zygote in silent else math.inf

    def note(zygote: ZygoteProcess, heard_at: float) -> None:
        vars(zygote)["_heard_at"] = heard_at

    monkeypatch.setattr(ZygoteProcess, "_heard_at", property(heard_at, note), raising=False)
    with Sandbox(patient(heartbeat_s=0.2, spares=0)) as sandbox:
        stopped = zygote_pid(sandbox)
        os.kill(stopped, signal.SIGSTOP)
        silent.append(sandbox._programs._base._zygote)  # type: ignore[union-attr]
        assert eventually(lambda: not is_running(stopped))
        assert sandbox.run("1 + 1").value == 2


BROKEN = {
    "no program": b"",
    "noise": bytes(range(256)),
    "a jump into nothing": b"\x15\x00\xff\xff\x00\x00\x00\x00" * 3,
    "half of an instruction": b"\x06\x00\x00\x00",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("tier", FORKING_TIERS)
def test_with_a_broken_filter_no_program_is_ever_sent(tier: Tier, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr("moesaic.tools.sandbox.conversation.Job.encoded", lambda *_: sent.append(b"x"))
    plan = make_plan(tier, patient(), packages=False)._replace(filter=BROKEN[name])
    nursery = Nursery(lambda: ZygoteProcess(plan), tier, patient())
    with pytest.raises(SandboxUnavailableError, match="seccomp: "):
        nursery.start()
    nursery.close()
    assert sent == []


@pytest.mark.parametrize("tier", FORKING_TIERS)
def test_a_filter_that_lets_everything_through_fails_the_self_test(tier: Tier) -> None:
    plan = make_plan(tier, patient(), packages=False)
    open_door = assemble({}, architecture=machine().architecture, default=ALLOW, other_tables_from=None)
    nursery = Nursery(lambda: ZygoteProcess(plan._replace(filter=open_door)), tier, patient())
    with pytest.raises(SandboxUnavailableError, match=r"could do what it must not: .*socket"):
        nursery.start()
    nursery.close()


def test_after_too_many_failures_it_rests_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    config = patient(max_restarts=2, spares=0)
    monkeypatch.setattr("moesaic.tools.sandbox.nursery._FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("moesaic.tools.sandbox.nursery._REST_S", 3600.0)
    starts: list[int] = []
    plan = make_plan(Tier.SECCOMP, config, packages=False)

    def make() -> ZygoteProcess:
        starts.append(1)
        return ZygoteProcess(plan._replace(filter=b""))

    nursery = Nursery(make, Tier.SECCOMP, config)
    for _ in range(2):
        with pytest.raises(SandboxUnavailableError, match=r"failed 3 times in a row: .*seccomp.*again after 3600 s"):
            nursery.take(usual_limits(config), time.monotonic() + 60)
    assert len(starts) == 3
    nursery.close()


def test_children_that_do_not_get_ready_are_replaced(open_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    wait, failing = ChildProcess.wait_until_ready, ["a wall fell", "a wall fell"]
    monkeypatch.setattr(
        ChildProcess, "wait_until_ready", lambda self, until: wait(self, until) or (failing.pop() if failing else None)
    )
    assert open_sandbox.run("1 + 1").value == 2
    assert failing == []


@pytest.mark.parametrize("tier", FORKING_TIERS)
def test_zygotes_are_recycled_under_running_programs(tier: Tier) -> None:
    with Sandbox(patient(tier=tier, recycle_after=6, concurrency=3)) as sandbox:
        nursery = sandbox._programs._base  # type: ignore[union-attr]
        former, first = nursery._zygote, zygote_pid(sandbox)
        results: list[object] = []
        thread = threading.Thread(
            target=lambda: results.append(sandbox.run("import time\ntime.sleep(3)\nanswer = 'whole'"))
        )
        thread.start()
        assert all(sandbox.run(f"{n}").value == n for n in range(20))
        thread.join(JOIN_S)
        assert results[0].value == "whole"  # type: ignore[attr-defined]
        assert eventually(lambda: nursery._zygote is not former)
        assert sandbox.run("1").value == 1
        assert eventually(lambda: not is_running(first))


def test_more_programs_than_spares_wait_their_turn() -> None:
    with Sandbox(patient(concurrency=2, spares=1)) as sandbox:
        results: list[object] = []
        threads = [
            threading.Thread(target=lambda n=n: results.append(sandbox.run(f"answer = {n}").value)) for n in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(JOIN_S)
        assert sorted(results, key=str) == sorted(range(12), key=str)


@pytest.mark.parametrize("tier", FORKING_TIERS)
def test_nothing_is_left_behind(tier: Tier) -> None:
    with Sandbox(patient(tier=tier)) as warm:
        warm.run("1")
    assert eventually(others_are_at_rest())
    before = open_descriptors(), threading.active_count()
    with Sandbox(patient(tier=tier)) as sandbox:
        sandbox.run("1")
        assert eventually(lambda: spares_have_come(sandbox))
        held = open_descriptors()
        # What was started, the fork of it that serves in tier namespaces, and the spares; no program is left of before.
        whole = 1 + (tier is Tier.NAMESPACES) + sandbox.config.spares
        assert eventually(lambda: len(family(sandbox)) == whole)
        pids = family(sandbox)
        for program in ["1", "1 / 0", "import os; os._exit(1)", "import ctypes; ctypes.string_at(1)"] * 8:
            sandbox.run(program)
        sandbox.run(FOREVER, timeout_s=0.1)
        assert eventually(lambda: open_descriptors() <= held)
        assert eventually(lambda: len(family(sandbox)) == whole)
    assert eventually(lambda: (open_descriptors(), threading.active_count()) <= before)
    assert eventually(partial(none_runs, pids))


def test_a_sandbox_that_is_forgotten_ends_its_processes() -> None:
    sandbox = Sandbox(patient(spares=1)).start()
    pid = zygote_pid(sandbox)
    assert is_running(pid)
    del sandbox
    assert eventually(lambda: not is_running(pid))


def test_the_thread_that_started_it_may_end() -> None:
    started: list[Sandbox] = []
    thread = threading.Thread(target=lambda: started.append(Sandbox(patient(tier=Tier.SECCOMP)).start()))
    thread.start()
    thread.join()
    time.sleep(0.2)
    with started[0] as sandbox:
        pid = zygote_pid(sandbox)
        assert sandbox.run("1").value == 1
        assert zygote_pid(sandbox) == pid


@pytest.mark.parametrize("tier", FORKING_TIERS)
def test_a_server_that_is_killed_takes_everything_with_it(tier: Tier) -> None:
    code = (
        "import threading, time\nfrom moesaic.tools.sandbox import Sandbox\n"
        "from tests.tools.sandbox.processes import FOREVER, eventually, patient, running_programs, spares_have_come\n"
        f"sandbox = Sandbox(patient(tier={tier.value!r})).start()\n"
        "threading.Thread(target=lambda: sandbox.run(FOREVER, timeout_s=600), daemon=True).start()\n"
        "assert eventually(lambda: running_programs(sandbox) and spares_have_come(sandbox))\n"
        "print('running', flush=True)\ntime.sleep(300)"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert server.stdout is not None
    assert server.stdout.readline() == "running\n"
    pids = descendants(server.pid)
    assert len(pids) >= 4  # the zygote, the program and two spares at least
    server.kill()
    server.wait()
    server.stdout.close()
    assert eventually(lambda: not any(map(is_running, pids)))


def test_closing_ends_a_program_that_runs() -> None:
    sandbox = Sandbox(patient()).start()
    results: list[object] = []
    thread = running_for_ever(sandbox, results)
    sandbox.close()
    thread.join(JOIN_S)
    assert results[0].status is ExecutionStatus.CRASHED  # type: ignore[attr-defined]


EXHAUSTED = """
import os, resource
from moesaic.errors import SandboxError
from moesaic.tools.sandbox import Sandbox
from tests.tools.sandbox.processes import eventually, open_descriptors, patient
import moesaic.tools.sandbox.nursery as nursery
nursery._REST_S = 0.0
before = open_descriptors()
with Sandbox(patient(spares=0, max_restarts=0)) as sandbox:
    print(sandbox.run("1").value)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
    try:
        sandbox.run("2")
    except SandboxError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(sandbox.run("3").value)
eventually(lambda: open_descriptors() <= before)
print(open_descriptors() - before)
"""


def test_a_server_without_free_descriptors_says_so_and_recovers() -> None:
    command = [sys.executable, "-c", EXHAUSTED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    first, refusal, last, leaked = done.stdout.splitlines()
    assert (first, last, leaked) == ("1", "3", "0")
    assert "open files" in refusal
