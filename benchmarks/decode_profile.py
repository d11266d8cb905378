"""Where the time of one decode step goes, operation by operation.

Runs vLLM's engine core inside of a process of its own, with the options and the environment of `VllmEngine`, and
steps it by hand under torch's profiler:

    python -m benchmarks.decode_profile build/bench/moe-int8 --streams 1

The profiler makes every operation a few microseconds longer, so small operations look somewhat more expensive than they
are; the time of a step is measured without it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from moesaic.artifact import ModelArtifact
from moesaic.errors import EngineError
from moesaic.server.engine.hardware import Machine
from moesaic.server.engine.runtime import engine_environment
from moesaic.server.engine.vllm_options import choose_artifact, engine_options
from moesaic.server.engine.vllm_settings import VllmSettings

__all__ = ["Operation", "StepProfile", "profile_decode_step"]

_PROMPT_TOKENS = 64
_WARM_STEPS = 8


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One kind of operation, in a single step."""

    name: str
    calls: float
    microseconds: float
    """Time in the operation itself, without those that it calls."""
    share: float
    """Share of the time of all operations."""


@dataclass(frozen=True, kw_only=True)
class StepProfile:
    """One decode step on average."""

    streams: int
    step_ms: float
    """Median time of a step, without the profiler."""
    operations: tuple[Operation, ...]
    """The most expensive first."""
    calls: float
    """Operations of a step, all kinds together."""


def profile_decode_step(
    artifact: ModelArtifact, settings: VllmSettings, machine: Machine, *, streams: Sequence[int], steps: int
) -> list[StepProfile]:
    """Profile `steps` steps at each number of streams, in a new process.

    Raises:
        EngineError: the process failed; the message has the end of its log.
    """
    environment = _environment(settings, machine)
    with tempfile.TemporaryDirectory(prefix="moesaic-profile-") as folder:
        target, log = Path(folder, "profile.json"), Path(folder, "log")
        command = [sys.executable, "-m", "benchmarks.decode_profile", str(artifact.folder), "--json", str(target)]
        command += ["--kv-cache-bytes", str(settings.kv_cache_bytes), "--steps", str(steps)]
        command += [word for count in streams for word in ("--streams", str(count))]
        with log.open("wb") as stream:
            done = subprocess.run(command, env=environment, stdout=stream, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
            raise EngineError(f"profiling {artifact.folder} ended with status {done.returncode}:\n{end}")

        rows = json.loads(target.read_text(encoding="utf-8"))
    return [StepProfile(**row | {"operations": tuple(Operation(**item) for item in row["operations"])}) for row in rows]


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode_profile", description="Profile decode steps.")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--streams", type=int, action="append", help="sequences at once; may be repeated (default 1)")
    parser.add_argument("--steps", type=int, default=24, help="steps to average over")
    parser.add_argument("--kv-cache-bytes", type=int, default=2**29)
    parser.add_argument("--top", type=int, default=12, help="operations to show")
    parser.add_argument("--json", type=Path, help="write the profiles to this file")
    options = parser.parse_args()
    settings = VllmSettings(prefix_caching=False, kv_cache_bytes=options.kv_cache_bytes)
    machine = Machine.detect()
    if os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") != "0":
        # Preloaded libraries and places of threads count from the start of a process on.
        command = [sys.executable, "-m", "benchmarks.decode_profile", *sys.argv[1:]]
        os.execve(sys.executable, command, _environment(settings, machine))
    artifact = choose_artifact(ModelArtifact.open(options.artifact), settings, machine)
    llm = _engine(artifact, settings, machine)
    profiles = [_profile(llm, count, options.steps, options.top) for count in options.streams or [1]]
    if options.json:
        options.json.write_text(json.dumps([asdict(profile) for profile in profiles]), encoding="utf-8")
    else:
        for profile in profiles:
            _show(profile)


def _environment(settings: VllmSettings, machine: Machine) -> dict[str, str]:
    """The environment of the engine's process, but with the engine core inside of it."""
    quiet = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": "127.0.0.1"}
    return os.environ | engine_environment(machine, settings) | quiet


def _engine(artifact: ModelArtifact, settings: VllmSettings, machine: Machine) -> Any:
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    return LLMEngine.from_engine_args(EngineArgs(**engine_options(artifact, settings, machine)))


def _profile(engine: Any, streams: int, steps: int, top: int) -> StepProfile:
    import torch
    from vllm import SamplingParams
    from vllm.inputs.engine import tokens_input

    sampling = SamplingParams(temperature=0.0, max_tokens=512, ignore_eos=True, detokenize=False)
    vocabulary = engine.model_config.get_vocab_size()
    names = [f"profile-{streams}-{index}" for index in range(streams)]
    for index, name in enumerate(names):
        prompt = [(997 * index + 131 * place) % vocabulary for place in range(_PROMPT_TOKENS)]
        engine.add_request(name, tokens_input(prompt), sampling)
    while len(engine.step()) < streams:  # until every prompt is computed
        continue
    for _ in range(_WARM_STEPS):
        engine.step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        engine.step()
        times.append(time.perf_counter() - start)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in range(steps):
            engine.step()
    engine.abort_request(names)
    events = [event for event in profiler.key_averages() if event.self_cpu_time_total > 0]
    total = sum(event.self_cpu_time_total for event in events)
    events.sort(key=lambda event: -event.self_cpu_time_total)
    operations = tuple(
        Operation(
            name=event.key,
            calls=event.count / steps,
            microseconds=event.self_cpu_time_total / steps,
            share=event.self_cpu_time_total / total,
        )
        for event in events[:top]
    )
    calls = sum(event.count for event in events) / steps
    return StepProfile(streams=streams, step_ms=1000 * median(times), operations=operations, calls=calls)


def _show(profile: StepProfile) -> None:
    print(f"{profile.streams} streams: {profile.step_ms:.2f} ms a step, {profile.calls:.0f} operations")
    for item in profile.operations:
        print(f"  {item.share:6.1%} {item.microseconds:9.0f} us {item.calls:7.1f} calls  {item.name}")


if __name__ == "__main__":
    _main()
