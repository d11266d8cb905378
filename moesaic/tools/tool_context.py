"""On whose behalf a tool is called, until when, and what it may spend."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Self

from moesaic.errors import DeadlineExceededError, InputError
from moesaic.tools.call_budget import CallBudget

__all__ = ["ToolContext"]


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """What holds for every call of one request; what is not given is the safe choice: somebody unknown, elsewhere."""

    tenant: str = "anonymous"
    """Whose allow-list counts, and who is named in the audit."""
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Names of calls are unique within it."""
    call_id: str = ""
    """Name of this call; a tool that writes can use it as its idempotency key. The toolbox sets it."""
    deadline: float | None = None
    """Moment of `time.monotonic()` until which everything must be done; None: the toolbox's limits alone count."""
    budget: CallBudget | None = None
    """Calls that the request may still make; None: any number."""
    local: bool = False
    """The caller is a person or a program on this machine, not the other end of a network."""
    authenticated: bool = False
    """The caller has shown a credential."""

    def __post_init__(self) -> None:
        """Check the names once."""
        for name in ("tenant", "request_id"):
            if not (value := getattr(self, name)) or len(value) > 256:
                raise InputError(f"{name}={value!r:.80} must have 1 to 256 characters")

    @classmethod
    def here(cls, *, timeout_s: float | None = None, calls: int | None = None, tenant: str = "local") -> Self:
        """The context of somebody on this machine.

        Args:
            timeout_s: seconds from now until everything must be done.
            calls: most calls.
            tenant: whose allow-list counts.
        """
        return cls(
            tenant=tenant,
            deadline=None if timeout_s is None else time.monotonic() + timeout_s,
            budget=None if calls is None else CallBudget(calls),
            local=True,
        )

    @property
    def may_execute(self) -> bool:
        """Whether programs may be executed: what comes over a network without a credential may not."""
        return self.local or self.authenticated

    def remaining_s(self, limit_s: float) -> float:
        """Seconds that a step may take: `limit_s`, or what is left until the deadline.

        Raises:
            DeadlineExceededError: nothing is left.
        """
        if self.deadline is None:
            return limit_s
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceededError("the time of this request is over; allow more (timeout_s)")
        return min(limit_s, left)
