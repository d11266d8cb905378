"""From the rounds of `benchmarks.serving` to its claims and tables."""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.paired import ratios
from benchmarks.report import Claim, ResultTable
from benchmarks.serving_load import EngineWay, GrpcWay, HttpWay, Outcome
from benchmarks.timed_demo import DemoTimes

__all__ = [
    "MANY",
    "NEW_TOKENS",
    "ONE",
    "PROMPT_TOKENS",
    "Outcomes",
    "demo_claims",
    "import_claim",
    "import_table",
    "way_claims",
    "way_table",
]

MANY, ONE = 32, 1
PROMPT_TOKENS, NEW_TOKENS = 64, 64

_ENGINE, _GRPC, _HTTP = EngineWay.name, GrpcWay.name, HttpWay.name

Outcomes = dict[tuple[str, int], list[Outcome]]
"""Outcomes of every round, by way and number of streams."""


def way_claims(outcomes: Outcomes) -> list[Claim]:
    """What each round of our way took beside the other two, as claims."""

    def compared(name: str, bar: str, unit: str, above: str, below: str, streams: int, attribute: str) -> Claim:
        samples = ratios(
            [getattr(outcome, attribute) for outcome in outcomes[above, streams]],
            [getattr(outcome, attribute) for outcome in outcomes[below, streams]],
        )
        return Claim(claim=name, value=median(samples), unit=unit, bar=bar, samples=tuple(samples))

    http, first = "x vLLM's HTTP server", "first_token_median_s"
    return [
        compared("grpc_tokens_vs_engine_32", ">= 0.95", "x AsyncLLM", _GRPC, _ENGINE, MANY, "tokens_per_s"),
        compared("grpc_tokens_vs_http_32", "reported", http, _GRPC, _HTTP, MANY, "tokens_per_s"),
        compared("grpc_ttft_p50_vs_http_32", "<= 0.90", http, _GRPC, _HTTP, MANY, first),
        compared("grpc_frontend_cpu_vs_http", "<= 0.70", http, _GRPC, _HTTP, MANY, "front_end_cpu_s"),
        compared("grpc_ttft_vs_engine_1", "<= 1.10", "x AsyncLLM", _GRPC, _ENGINE, ONE, first),
    ]


def way_table(outcomes: Outcomes) -> ResultTable:
    """Medians of every way."""
    rows = []
    for way in (_ENGINE, _GRPC, _HTTP):
        many, one = outcomes[way, MANY], outcomes[way, ONE]
        rows.append(
            (
                way,
                f"{median(outcome.tokens_per_s for outcome in many):.0f}",
                f"{median(outcome.first_token_median_s for outcome in many):.3f}",
                f"{median(outcome.front_end_cpu_s for outcome in many):.3f}",
                f"{median(outcome.first_token_median_s for outcome in one):.4f}",
            )
        )
    return ResultTable(
        columns=(
            "way",
            f"tokens/s, {MANY} streams",
            "first token, s",
            "front-end CPU, s per 1,000 tokens",
            "first token of one stream, s",
        ),
        rows=tuple(rows),
        note=f"{MANY} requests at once, {PROMPT_TOKENS} tokens in and {NEW_TOKENS} out; medians of "
        f"{len(outcomes[_GRPC, MANY])} rounds. The callers' own work is done on the same cores.",
    )


def import_claim(imports: Mapping[str, Sequence[float]]) -> Claim:
    """What importing the client costs beside what gRPC itself costs."""
    allowance_s = 0.1
    samples = ratios([max(1e-3, value - allowance_s) for value in imports["moesaic.client"]], imports["grpc"])
    return Claim(
        claim="client_import_vs_grpc",
        value=median(samples),
        unit="x import grpc, after 0.1 s",
        bar="<= 1.5",
        samples=tuple(samples),
    )


def import_table(imports: Mapping[str, Sequence[float]]) -> ResultTable:
    """Medians of every import."""
    rows = tuple((name, f"{median(values):.3f}") for name, values in imports.items())
    return ResultTable(columns=("import", "seconds"), rows=rows, note="In a fresh process, warm file cache.")


def demo_claims(demo: DemoTimes) -> list[Claim]:
    """How long the demo took, from nothing and again."""
    return [
        Claim(claim="demo_cold_s", value=demo.cold_s, unit="s", bar="<= 900", samples=(demo.cold_s,)),
        Claim(claim="demo_warm_s", value=demo.warm_s, unit="s", bar="<= 240", samples=(demo.warm_s,)),
    ]
