"""From made-up measurements to claims: every one is there, and each fails when what it claims is not so."""

import pytest
from rich.console import Console

from benchmarks import engine_tables
from benchmarks.decode_profile import Operation, StepProfile
from benchmarks.engine_claims import (
    BARS,
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
from benchmarks.machine_limits import MachineLimits
from benchmarks.planted_faults import FaultResult
from benchmarks.report import Claim, Report
from benchmarks.rounds import Measured
from benchmarks.step_cost import StepCost
from benchmarks.subjects import MOE, SERVED

REQUIRED = {
    "int8_bytes_vs_bf16": "<= 0.60",
    "int8_decode_vs_bf16_1": ">= 0.97",
    "int8_decode_vs_bf16_8": ">= 0.97",
    "int8_decode_vs_bf16_32": ">= 0.97",
    "int8_prefill_vs_bf16": ">= 0.97",
    "int8_perplexity_python": "<= 1.03",
    "int8_perplexity_wikitext": "<= 1.03",
    "moe_vs_dense_decode_1": "reported",
    "moe_vs_dense_decode_32": "reported",
    "share_of_bandwidth_limit_1": "reported",
    "share_of_arithmetic_limit_32": "reported",
    "wrong_expert_detected": "= 1",
}
LOADS = tuple(
    Load(name=name, streams=streams, prompt_tokens=64, new_tokens=new)
    for name, streams, new in ((DECODE_1, 1, 64), (DECODE_8, 8, 64), (DECODE_32, 32, 64), (PREFILL, 4, 1))
)
LIMITS = MachineLimits(threads=2, read_bytes_per_s=1e10, bf16_operations_per_s=1e11, int8_operations_per_s=2e11)
COST = StepCost(weight_bytes=1e8, int8_operations=1e9, bf16_operations=1e9)
COSTS = {(name, load.name): COST for name in SERVED for load in LOADS}
FAULTS = [
    FaultResult(fault="none", layer=None, check="PyTorch", detected=False),
    FaultResult(fault="two experts exchanged", layer=1, check="PyTorch", detected=True, difference=0.4, threshold=0.05),
    FaultResult(fault="coefficients exchanged", layer=29, check="vLLM", detected=True, difference=0.5, threshold=0.1),
]


def measurements() -> dict[str, Measured]:
    """Every model alike, but the quantized one a tenth faster."""
    found = {}
    for name in SERVED:
        faster = 1.1 if name == QUANTIZED else 1.0
        found[name] = Measured(
            start_s=9.0,
            resident_after_start=10**9,
            canary_difference=0.02,
            resident_after_rounds=2 * 10**9,
            resident_after_scoring=2 * 10**9,
            rates={load.name: [faster * rate for rate in (40.0, 20.0, 50.0)] for load in LOADS},
            foreign_cores={load.name: [0.0, 0.1, 1.5] for load in LOADS},
            perplexities={PYTHON: 12.0 * (1.01 if name == QUANTIZED else 1.0), WIKITEXT: 20.0},
        )
    return found


def claims(**changed: object) -> dict[str, Claim]:
    given = {
        "measured": measurements(),
        "sizes": dict.fromkeys(SERVED, 100) | {QUANTIZED: 55},
        "costs": COSTS,
        "limits": LIMITS,
        "faults": FAULTS,
    }
    return {claim.claim: claim for claim in engine_claims(**(given | changed))}  # type: ignore[arg-type]


def test_every_required_claim_is_there_with_its_bar() -> None:
    found = claims()
    assert {name: claim.bar for name, claim in found.items()} == REQUIRED
    assert list(found) == list(BARS)
    assert all(claim.holds for claim in found.values())


def test_values_are_what_they_say() -> None:
    found = claims()
    assert found["int8_bytes_vs_bf16"].value == pytest.approx(0.55)
    assert found["int8_decode_vs_bf16_8"].value == pytest.approx(1.1)
    assert found["int8_decode_vs_bf16_8"].samples == pytest.approx((1.1, 1.1, 1.1))
    assert found["int8_perplexity_python"].value == pytest.approx(1.01)
    assert found["moe_vs_dense_decode_1"].value == pytest.approx(1.1)
    assert found["share_of_bandwidth_limit_1"].value == pytest.approx(1e8 * 44 / 1e10)
    assert found["share_of_arithmetic_limit_32"].value == pytest.approx((1e9 / 2e11 + 1e9 / 1e11) * 44 / 32)
    assert found["wrong_expert_detected"].samples == (1.0, 1.0)


@pytest.mark.parametrize("load", [DECODE_1, DECODE_8, DECODE_32, PREFILL])
def test_one_slow_load_fails_its_own_claim_only(load: str) -> None:
    slow = measurements()
    slow[QUANTIZED].rates[load] = [0.9 * rate for rate in slow[MOE].rates[load]]
    failed = [name for name, claim in claims(measured=slow).items() if not claim.holds]
    wanted = {DECODE_1: "int8_decode_vs_bf16_1", DECODE_8: "int8_decode_vs_bf16_8", DECODE_32: "int8_decode_vs_bf16_32"}
    assert failed == [wanted.get(load, "int8_prefill_vs_bf16")]


def test_a_good_median_with_bad_rounds_does_not_hold() -> None:
    shaky = measurements()
    shaky[QUANTIZED].rates[DECODE_1] = [
        factor * rate for factor, rate in zip((1.3, 0.5, 1.3), shaky[MOE].rates[DECODE_1], strict=True)
    ]
    claim = claims(measured=shaky)["int8_decode_vs_bf16_1"]
    assert claim.value == pytest.approx(0.5)
    assert not claim.holds


def test_a_text_that_was_not_read_is_said_to_be_missing() -> None:
    unread = measurements()
    for result in unread.values():
        del result.perplexities[WIKITEXT]
    claim = claims(measured=unread)["int8_perplexity_wikitext"]
    assert claim.value is None
    assert not claim.holds


def test_one_missed_fault_fails() -> None:
    missed = [*FAULTS, FaultResult(fault="two gate rows exchanged", layer=15, check="PyTorch", detected=False)]
    claim = claims(faults=missed)["wrong_expert_detected"]
    assert claim.value == pytest.approx(2 / 3)
    assert not claim.holds


def test_a_check_that_refuses_sound_weights_detects_nothing() -> None:
    alarmed = [FaultResult(fault="none", layer=None, check="PyTorch", detected=True), *FAULTS]
    assert claims(faults=alarmed)["wrong_expert_detected"].value is None


def test_the_tables_can_be_built_and_printed() -> None:
    sizes = dict.fromkeys(SERVED, 300_000_000)
    operation = Operation(name="aten::mm", calls=15.0, microseconds=1234.0, share=0.4)
    profile = StepProfile(streams=1, step_ms=21.5, operations=(operation,), calls=500.0)
    tables = {
        "Speed": engine_tables.speed_table(measurements(), LOADS, sizes),
        "Ratios": engine_tables.ratio_table(measurements(), LOADS),
        "Shares": engine_tables.share_table(measurements(), LOADS, COSTS, LIMITS),
        "Limits": engine_tables.limit_table([LIMITS, LIMITS]),
        "Quality": engine_tables.quality_table(measurements(), 20_480),
        "Memory": engine_tables.memory_table(measurements(), sizes, 2**29),
        "Faults": engine_tables.fault_table(FAULTS),
        "Profile": engine_tables.profile_table(profile),
        "Rounds": engine_tables.round_table(measurements(), LOADS),
    }
    report = Report(machine={}, command="", versions={}, claims=tuple(claims().values()), tables=tables)
    assert set(report.to_json()["tables"]) == set(tables)
    console = Console(record=True, width=200, quiet=True)
    report.show(console)
    shares = tables["Shares"].rows[0]
    assert shares[1] == "40.0%"  # 40 steps of 1e8 bytes each, of 1e10 in a second
    assert tables["Ratios"].rows[0][:2] == ("MoE int8 / MoE bf16", "1.10 [1.10, 1.10]")
    assert "1.50 at most" in tables["Speed"].note
