"""When spares are asked for, and which of them rehearse."""

import time
from concurrent.futures import Future

import pytest

from moesaic.tools.sandbox import Sandbox, SandboxConfig, Tier
from moesaic.tools.sandbox.child_process import ChildLimits, ChildProcess
from moesaic.tools.sandbox.inside.pools import filled_holes
from moesaic.tools.sandbox.nursery import Nursery, usual_limits
from moesaic.tools.sandbox.tiers import make_plan
from moesaic.tools.sandbox.zygote_process import ZygoteProcess
from tests.tools.sandbox.processes import patient


class WatchedZygote(ZygoteProcess):
    """Notes which children it was asked for."""

    def __init__(self, config: SandboxConfig, rehearsed: list[bool]) -> None:
        super().__init__(make_plan(Tier.SECCOMP, config, packages=False))
        self._rehearsed = rehearsed

    def fork(self, limits: ChildLimits, *, warm: bool = False) -> "Future[ChildProcess]":
        self._rehearsed.append(warm)
        return super().fork(limits, warm=warm)


def test_spares_rehearse_unless_programs_come_fast() -> None:
    config, rehearsed = patient(spares=1), list[bool]()
    nursery = Nursery(lambda: WatchedZygote(config, rehearsed), Tier.SECCOMP, config)

    def take() -> ChildProcess:
        child = nursery.take(usual_limits(config), time.monotonic() + 60)
        nursery.give_back(child)
        return child

    try:
        nursery.start()
        assert rehearsed == [False, True]  # the child of the self-test, the first spare
        take()
        assert rehearsed[2:] == [True]
        time.sleep(0.05)
        take()
        assert rehearsed[3:] == [True]
        nursery._taken_at = time.monotonic() + 1000  # as if a program had just come, on however slow a machine
        take()
        assert rehearsed[4:] == [False]
    finally:
        nursery.close()


def test_a_child_that_did_not_rehearse_answers_the_same() -> None:
    config = patient(spares=0, tier=Tier.SECCOMP)
    with Sandbox(config) as sandbox:
        assert sandbox.run("from fractions import Fraction\nanswer = str(Fraction(1, 3))").value == "1/3"


def test_holes_are_filled_up_to_a_bound() -> None:
    kept = filled_holes()
    assert len({len(one) for one in kept}) == len(range(48, 513, 16))
    assert sum(one.__sizeof__() for one in kept) <= len(range(48, 513, 16)) * (1 << 16)


def test_a_zygote_is_not_closed_below_a_child_that_is_being_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    config, replaced = patient(spares=1), list[bool]()
    plan = make_plan(Tier.SECCOMP, config, packages=False)
    nursery = Nursery(lambda: ZygoteProcess(plan), Tier.SECCOMP, config)
    ready = ChildProcess.wait_until_ready

    def replace_meanwhile(self: ChildProcess, deadline: float) -> str | None:
        reason = ready(self, deadline)
        if not replaced:
            replaced.append(True)
            nursery._replace()
        return reason

    try:
        former = nursery.start()
        monkeypatch.setattr(ChildProcess, "wait_until_ready", replace_meanwhile)
        child = nursery.take(usual_limits(config), time.monotonic() + 60)
        assert nursery._zygote is not former
        assert not child._has_ended()
        nursery.give_back(child)
        assert not former.is_alive
        assert nursery._used == []
    finally:
        nursery.close()
