"""From made-up rounds to claims: every one is there, and each fails when what it claims is not so."""

import pytest

from benchmarks.rag_quality import quality_claims, quality_of
from benchmarks.serving_claims import (
    MANY,
    ONE,
    Outcomes,
    demo_claims,
    import_claim,
    import_table,
    way_claims,
    way_table,
)
from benchmarks.serving_load import EngineWay, GrpcWay, HttpWay, Outcome
from benchmarks.timed_demo import DemoTimes

REQUIRED = {
    "grpc_tokens_vs_engine_32": ">= 0.95",
    "grpc_tokens_vs_http_32": "reported",
    "grpc_ttft_p50_vs_http_32": "<= 0.90",
    "grpc_frontend_cpu_vs_http": "<= 0.70",
    "grpc_ttft_vs_engine_1": "<= 1.10",
    "client_import_vs_grpc": "<= 1.5",
    "demo_cold_s": "<= 900",
    "demo_warm_s": "<= 240",
    "citation_exactness": "= 1",
    "gold_span_hit": "reported",
    "refusal_f1": "reported",
}


def outcomes(grpc_tokens: float, grpc_first: float, grpc_cpu: float) -> Outcomes:
    """Three rounds: AsyncLLM at 100 tokens/s, 1 s and 0.1 s; HTTP at 80, 2 s and 0.2 s."""

    def three(tokens: float, first: float, cpu: float) -> list[Outcome]:
        return [Outcome(tokens_per_s=tokens, first_token_s=(first, first), front_end_cpu_s=cpu)] * 3

    given = {
        EngineWay.name: (100, 1, 0.1),
        GrpcWay.name: (grpc_tokens, grpc_first, grpc_cpu),
        HttpWay.name: (80, 2, 0.2),
    }
    return {(way, streams): three(*figures) for way, figures in given.items() for streams in (MANY, ONE)}


def test_the_claims_of_the_issue_are_all_there() -> None:
    claims = [
        *way_claims(outcomes(98, 1, 0.1)),
        import_claim({"grpc": [0.1], "moesaic.client": [0.2]}),
        *demo_claims(DemoTimes(cold_s=600, warm_s=200)),
        *quality_claims(quality_of([])),
    ]
    assert {claim.claim: claim.bar for claim in claims} == REQUIRED


@pytest.mark.parametrize(
    ("figures", "failing"),
    [
        ((98, 1.0, 0.13), set()),
        ((90, 1.0, 0.13), {"grpc_tokens_vs_engine_32"}),
        ((98, 1.9, 0.13), {"grpc_ttft_p50_vs_http_32", "grpc_ttft_vs_engine_1"}),
        ((98, 1.2, 0.13), {"grpc_ttft_vs_engine_1"}),
        ((98, 1.0, 0.15), {"grpc_frontend_cpu_vs_http"}),
    ],
)
def test_a_claim_fails_by_itself(figures: tuple[float, float, float], failing: set[str]) -> None:
    assert {claim.claim for claim in way_claims(outcomes(*figures)) if not claim.holds} == failing


def test_the_import_has_a_tenth_of_a_second_for_itself() -> None:
    assert import_claim({"grpc": [0.1] * 3, "moesaic.client": [0.25] * 3}).value == pytest.approx(1.5)
    assert not import_claim({"grpc": [0.1] * 3, "moesaic.client": [0.26] * 3}).holds


def test_a_slow_demo_fails() -> None:
    assert [claim.holds for claim in demo_claims(DemoTimes(cold_s=901, warm_s=241))] == [False, False]


def test_the_tables_show_every_way_and_import() -> None:
    assert [row[0] for row in way_table(outcomes(98, 1, 0.1)).rows] == [EngineWay.name, GrpcWay.name, HttpWay.name]
    assert [row[0] for row in import_table({"grpc": [0.1], "moesaic.client": [0.2]}).rows] == ["grpc", "moesaic.client"]
