"""Sandboxes that many tests share, one of each tier."""

import time
from collections.abc import Iterator

import pytest

from moesaic.tools.sandbox import Sandbox, Tier
from moesaic.tools.sandbox.exchange import Ending, Exchange
from tests.tools.sandbox.processes import patient

FORKING = (Tier.NAMESPACES, Tier.SECCOMP)
FOR_EVER = b"# for ever"


@pytest.fixture(scope="session", params=FORKING, ids=str)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A running sandbox of each tier that forks."""
    with Sandbox(patient(tier=request.param)) as opened:
        yield opened


@pytest.fixture(scope="session")
def open_sandbox() -> Iterator[Sandbox]:
    """A running sandbox of the strongest tier."""
    with Sandbox(patient()) as opened:
        yield opened


@pytest.fixture
def loops_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch, whose limit is one for all, only programs that say `# for ever` have little time."""
    talk = Exchange.talk

    def hurried(self: Exchange, message: bytes, deadline: float) -> Ending:
        return talk(self, message, min(deadline, time.monotonic() + 1) if FOR_EVER in message else deadline)

    monkeypatch.setattr(Exchange, "talk", hurried)
