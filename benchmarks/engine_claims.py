"""From what was measured of the engine's models to the claims that must be reported; no measuring here.

A claim about speed is about ratios within rounds. For the ones with a bar its value is the lower end of their median's
95% interval, so that luck does not meet it; for the reported ones it is the median.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.machine_limits import MachineLimits
from benchmarks.paired import median_interval, ratios
from benchmarks.planted_faults import FaultResult
from benchmarks.report import Claim
from benchmarks.rounds import Measured
from benchmarks.step_cost import StepCost, arithmetic_share, bandwidth_share
from benchmarks.subjects import DENSE_INT8, MOE, MOE_INT8

__all__ = ["BARS", "DECODE_1", "DECODE_8", "DECODE_32", "PREFILL", "PYTHON", "QUANTIZED", "WIKITEXT", "engine_claims"]

DECODE_1, DECODE_8, DECODE_32 = "decode 1", "decode 8", "decode 32"
PREFILL = "prefill"
PYTHON, WIKITEXT = "Python reference", "WikiText-2"

QUANTIZED = MOE_INT8
"""The model that the int8 claims are about: the scheme that `moesaic model quantize` takes by default."""

BARS = {
    "int8_bytes_vs_bf16": ("<= 0.60", "x"),
    "int8_decode_vs_bf16_1": (">= 0.97", "x, lower end of the paired interval"),
    "int8_decode_vs_bf16_8": (">= 0.97", "x, lower end of the paired interval"),
    "int8_decode_vs_bf16_32": (">= 0.97", "x, lower end of the paired interval"),
    "int8_prefill_vs_bf16": (">= 0.97", "x, lower end of the paired interval"),
    "int8_perplexity_python": ("<= 1.03", "x bf16"),
    "int8_perplexity_wikitext": ("<= 1.03", "x bf16"),
    "moe_vs_dense_decode_1": ("reported", "x, both int8, median of the paired ratios"),
    "moe_vs_dense_decode_32": ("reported", "x, both int8, median of the paired ratios"),
    "share_of_bandwidth_limit_1": ("reported", "share"),
    "share_of_arithmetic_limit_32": ("reported", "share"),
    "wrong_expert_detected": ("= 1", "share of planted faults"),
}
"""Bar and unit of every claim, by name."""


def engine_claims(
    measured: Mapping[str, Measured],
    sizes: Mapping[str, int],
    costs: Mapping[tuple[str, str], StepCost],
    limits: MachineLimits,
    faults: Sequence[FaultResult],
) -> tuple[Claim, ...]:
    """All claims, in the order of `BARS`.

    Args:
        measured: by model.
        sizes: bytes of the weight files, by model.
        costs: of one step, by model and load.
        limits: of the machine.
        faults: results on planted faults and, with `layer` None, on sound models.
    """
    ours, plain, dense = measured[QUANTIZED], measured[MOE], measured[DENSE_INT8]
    samples: dict[str, list[float]] = {"int8_bytes_vs_bf16": [sizes[QUANTIZED] / sizes[MOE]]}
    speed = {
        "int8_decode_vs_bf16_1": DECODE_1,
        "int8_decode_vs_bf16_8": DECODE_8,
        "int8_decode_vs_bf16_32": DECODE_32,
        "int8_prefill_vs_bf16": PREFILL,
    }
    samples |= {claim: ratios(ours.rates[load], plain.rates[load]) for claim, load in speed.items()}
    for claim, text in (("int8_perplexity_python", PYTHON), ("int8_perplexity_wikitext", WIKITEXT)):
        samples[claim] = [ours.perplexities[text] / plain.perplexities[text]] if text in ours.perplexities else []
    for claim, load in (("moe_vs_dense_decode_1", DECODE_1), ("moe_vs_dense_decode_32", DECODE_32)):
        samples[claim] = ratios(ours.rates[load], dense.rates[load])
    samples["share_of_bandwidth_limit_1"] = [
        bandwidth_share(costs[QUANTIZED, DECODE_1], rate, limits) for rate in ours.rates[DECODE_1]
    ]
    samples["share_of_arithmetic_limit_32"] = [
        arithmetic_share(costs[QUANTIZED, DECODE_32], rate / 32, limits) for rate in ours.rates[DECODE_32]
    ]
    samples["wrong_expert_detected"] = [float(result.detected) for result in faults if result.layer is not None]
    values = {claim: _value(claim, found, lower=claim in speed) for claim, found in samples.items()}
    if any(result.detected for result in faults if result.layer is None):
        values["wrong_expert_detected"] = None  # what also refuses sound weights detects nothing
    return tuple(
        Claim(claim=claim, value=values[claim], unit=unit, bar=bar, samples=tuple(samples[claim]))
        for claim, (bar, unit) in BARS.items()
    )


def _value(claim: str, samples: Sequence[float], *, lower: bool) -> float | None:
    """The figure that the samples amount to; None without samples."""
    if not samples:
        return None
    if lower:
        return median_interval(samples).low
    return sum(samples) / len(samples) if claim == "wrong_expert_detected" else median(samples)
