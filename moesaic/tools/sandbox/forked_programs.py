"""Runs programs in forked children, one each, or one for all of a request."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from moesaic.errors import SandboxUnavailableError
from moesaic.tools.sandbox.cancellation import Cancellation
from moesaic.tools.sandbox.child_process import ChildLimits
from moesaic.tools.sandbox.config import SandboxConfig, Tier
from moesaic.tools.sandbox.conversation import Conversation, Job
from moesaic.tools.sandbox.exchange import RunLimits
from moesaic.tools.sandbox.execution import Execution
from moesaic.tools.sandbox.interpreter import needs_packages
from moesaic.tools.sandbox.nursery import Nursery, usual_limits
from moesaic.tools.sandbox.tiers import FORKING_TIERS, make_nursery

__all__ = ["ForkedPrograms"]


class ForkedPrograms:
    """Two zygotes of one tier: one with the standard library, one with the scientific packages besides.

    The second is started when a program first names one of the packages, since their import takes seconds.
    """

    def __init__(self, tier: Tier, config: SandboxConfig) -> None:
        self.tier = tier
        self._config = config
        self._base = make_nursery(tier, config, packages=False)
        self._scientific = make_nursery(tier, config, packages=True)

    @classmethod
    def strongest(cls, config: SandboxConfig) -> "ForkedPrograms":
        """Of the configured tier, or of the strongest that holds here; started.

        Raises:
            SandboxUnavailableError: none does, with the reason of each.
        """
        reasons = []
        for tier in FORKING_TIERS if config.tier is None else (config.tier,):
            programs = cls(tier, config)
            try:
                programs.start()
            except SandboxUnavailableError as error:
                programs.close()
                reasons.append(f"tier {tier}: {error}")
            else:
                return programs
        raise SandboxUnavailableError(
            f"no program is run, because no sandbox holds here ({'; '.join(reasons)}). `moesaic sandbox probe` tells "
            "more. SandboxConfig(tier='monty') is a restricted interpreter that needs nothing of the kernel"
        )

    def start(self) -> None:
        """Start the first zygote.

        Raises:
            SandboxUnavailableError: the walls cannot be laid here, or do not hold.
        """
        self._base.start()

    def run(self, jobs: Sequence[Job], limits: RunLimits, cancellation: Cancellation) -> list[Execution]:
        """Run the programs in turn: in one child as long as each gives a sound outcome, then in one child each."""
        done: list[Execution] = []
        together = True
        while len(done) < len(jobs) and not (done and cancellation.requested):
            waiting = jobs[len(done) :]
            nursery = self._nursery(waiting)
            child = nursery.take(self._child_limits(limits, waiting), time.monotonic() + self._config.start_timeout_s)
            try:
                conversation = Conversation(child, self.tier, cancellation)
                share = _converse(conversation, waiting if together else waiting[:1], limits)
            finally:
                nursery.give_back(child)
            done += share
            together = together and conversation.usable
        return done

    def close(self) -> None:
        """End every process."""
        self._base.close()
        self._scientific.close()

    def _nursery(self, jobs: Sequence[Job]) -> Nursery:
        return self._scientific if any(needs_packages(job.program) for job in jobs) else self._base

    def _child_limits(self, limits: RunLimits, jobs: Sequence[Job]) -> ChildLimits:
        """Those of the spares wherever they will do."""
        usual = usual_limits(self._config)
        cpu_s = usual.cpu_s if limits.timeout_s < usual.cpu_s else math.ceil(limits.timeout_s) + 1
        scratch = any(job.files is not None for job in jobs)
        return ChildLimits(limits.memory_bytes, cpu_s, self._config.scratch_bytes if scratch else 0)


def _converse(conversation: Conversation, jobs: Sequence[Job], limits: RunLimits) -> list[Execution]:
    """Run programs in one child for as long as it can take them; the peak of its memory counts for each."""
    done: list[Execution] = []
    for place, job in enumerate(jobs):
        done.append(conversation.run(job, limits, last=place == len(jobs) - 1))
        if not conversation.can_take(limits.timeout_s):
            break
    if len(done) == 1:
        return done
    peak = max(execution.usage.max_rss_bytes for execution in done)
    return [replace(execution, usage=replace(execution.usage, max_rss_bytes=peak)) for execution in done]
