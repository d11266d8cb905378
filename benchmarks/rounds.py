"""Measuring several models in turn: every engine is up, and only the one that is asked computes.

Within one round, each load is put on one engine after the other within seconds, in the opposite order in every second
round. So whatever else the machine does falls on all of them alike, and figures of one round may be compared.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.foreign_load import ForeignLoad
from benchmarks.load import Load
from benchmarks.perplexity import perplexity
from moesaic.artifact import ModelArtifact
from moesaic.server.engine import VllmEngine, VllmSettings
from moesaic.server.engine.hardware import Machine

__all__ = ["Measured", "Plan", "measure", "resident_bytes"]

Notice = Callable[[str], None]

_KV_CACHE_BYTES = 512 * 2**20
_WARM_TOKENS = 16  # enough for all streams to decode together


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much to measure."""

    rounds: int
    loads: tuple[Load, ...]
    perplexity_tokens: int
    """Tokens of each text; the first tokens of the text are taken."""
    kv_cache_bytes: int = _KV_CACHE_BYTES


@dataclass(kw_only=True)
class Measured:
    """What was measured of one model."""

    start_s: float
    resident_after_start: int
    """Resident bytes of the computing process, key-value cache included, after the canary."""
    canary_difference: float | None
    resident_after_rounds: int = 0
    resident_after_scoring: int = 0
    rates: dict[str, list[float]] = field(default_factory=dict)
    """Tokens per second by load, one figure per round."""
    foreign_cores: dict[str, list[float]] = field(default_factory=dict)
    """Cores that other programs kept busy meanwhile."""
    perplexities: dict[str, float] = field(default_factory=dict)
    """By text."""


async def measure(
    subjects: Mapping[str, ModelArtifact],
    plan: Plan,
    machine: Machine,
    texts: Mapping[str, str],
    notice: Notice,
    between: Callable[[], None],
) -> dict[str, Measured]:
    """Start an engine for each subject and measure them in turn.

    Args:
        subjects: the models by name.
        plan: how much to measure.
        machine: the machine.
        texts: texts whose perplexity to compute; prompts are cut from the first.
        notice: told what begins, in a line.
        between: called halfway through the rounds, while no engine computes.
    """
    async with AsyncExitStack() as stack:
        engines: dict[str, VllmEngine] = {}
        measured: dict[str, Measured] = {}
        for name, artifact in subjects.items():
            notice(f"start {name}")
            settings = VllmSettings(prefix_caching=False, kv_cache_bytes=plan.kv_cache_bytes)
            engines[name] = engine = VllmEngine(artifact, settings, machine=machine)
            stack.push_async_callback(engine.stop)
            measured[name] = await _started(engine)
        prompt_text = _encoded(next(iter(engines.values())), next(iter(texts.values())))
        await _rounds(engines, measured, plan, prompt_text, notice, between)
        for name, engine in engines.items():
            measured[name].resident_after_rounds = resident_bytes(_process(engine))
            notice(f"perplexity of {name}")
            for title, text in texts.items():
                ids = _encoded(engine, text)[: plan.perplexity_tokens]
                measured[name].perplexities[title] = await perplexity(engine, ids)
            measured[name].resident_after_scoring = resident_bytes(_process(engine))
    return measured


async def _started(engine: VllmEngine) -> Measured:
    begin = time.perf_counter()
    await engine.start()
    elapsed = time.perf_counter() - begin
    return Measured(
        start_s=elapsed,
        resident_after_start=resident_bytes(_process(engine)),
        canary_difference=engine.canary_difference,
    )


async def _rounds(
    engines: Mapping[str, VllmEngine],
    measured: Mapping[str, Measured],
    plan: Plan,
    text: Sequence[int],
    notice: Notice,
    between: Callable[[], None],
) -> None:
    processes = [_process(engine) for engine in engines.values()]
    for name, engine in engines.items():
        notice(f"warm up {name}")
        for load in plan.loads:
            await load.warm_up(engine, text, _WARM_TOKENS)
    for number in range(plan.rounds):
        notice(f"round {number + 1} of {plan.rounds}")
        if number == plan.rounds // 2:
            await asyncio.to_thread(between)
        order = list(engines) if number % 2 == 0 else list(engines)[::-1]
        for load in plan.loads:
            for name in order:
                foreign = ForeignLoad([*processes, os.getpid()])
                rate = await load.rate(engines[name], text)
                measured[name].rates.setdefault(load.name, []).append(rate)
                measured[name].foreign_cores.setdefault(load.name, []).append(foreign.cores())


def resident_bytes(process: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def _process(engine: VllmEngine) -> int:
    assert engine.process_id is not None, "the engine runs"
    return engine.process_id


def _encoded(engine: VllmEngine, text: str) -> list[int]:
    # Not verbose: it would warn that the text is longer than the context, which is cut into windows later.
    return list(engine.tokenizer.encode(text, add_special_tokens=False, verbose=False))
