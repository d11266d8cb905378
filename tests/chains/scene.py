"""A chat model and the engine at the other end, and a script under which answers may be left early."""

import time
from typing import NamedTuple

from moesaic.chains import ChatMoesaic
from moesaic.server.engine import GenerateRequest, ScriptedEngine, ScriptedReply
from tests.chains.scripted_model import prompt_of, sensible

__all__ = ["Scene", "script", "until_idle"]


class Scene(NamedTuple):
    """A chat model, and the engine at the other end."""

    model: ChatMoesaic
    engine: ScriptedEngine


def script(request: GenerateRequest) -> ScriptedReply:
    """A sensible model; asked for something endless it goes on for minutes, much longer than `until_idle` waits."""
    slow = "endless" in prompt_of(request)
    return ScriptedReply(text=sensible(request) * (100 if slow else 1), token_delay_s=0.1 if slow else 0.0)


def until_idle(engine: ScriptedEngine) -> None:
    """Wait until the engine, which runs in another thread, computes nothing."""
    ends = time.monotonic() + 30
    while engine.load().running:
        assert time.monotonic() < ends, "the engine still computes"
        time.sleep(0.005)
