"""Tables of the engine benchmark: what the claims rest on, for every model."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks.decode_profile import StepProfile
from benchmarks.load import Load
from benchmarks.machine_limits import MachineLimits
from benchmarks.paired import median_interval, ratios
from benchmarks.planted_faults import FaultResult
from benchmarks.report import Cell, ResultTable
from benchmarks.rounds import Measured
from benchmarks.step_cost import StepCost, arithmetic_share, bandwidth_share
from benchmarks.subjects import DENSE, DENSE_INT8, MOE, MOE_INT8, MOE_INT8_EXPERTS

__all__ = [
    "fault_table",
    "limit_table",
    "memory_table",
    "profile_table",
    "quality_table",
    "ratio_table",
    "round_table",
    "share_table",
    "speed_table",
]

_PAIRS = (
    (MOE_INT8, MOE),
    (MOE_INT8_EXPERTS, MOE),
    (MOE_INT8_EXPERTS, MOE_INT8),
    (DENSE_INT8, DENSE),
    (MOE, DENSE),
    (MOE_INT8, DENSE_INT8),
    (MOE_INT8, DENSE),
)
_FULL_PRECISION = {DENSE_INT8: DENSE, MOE_INT8: MOE, MOE_INT8_EXPERTS: MOE}
_MB = 1e6


def speed_table(measured: Mapping[str, Measured], loads: Sequence[Load], sizes: Mapping[str, int]) -> ResultTable:
    """Tokens per second of every model under every load."""
    rows = tuple(
        (name, f"{sizes[name] / _MB:.0f}", *(_range(result.rates[load.name]) for load in loads))
        for name, result in measured.items()
    )
    foreign = [cores for result in measured.values() for load in loads for cores in result.foreign_cores[load.name]]
    described = ", ".join(
        f"{load.name}: {load.streams} x {load.prompt_tokens} prompt tokens"
        + (f" and {load.new_tokens} new ones" if load.new_tokens > 1 else "")
        for load in loads
    )
    note = (
        f"Median [lowest, highest] of {len(next(iter(measured.values())).rates[loads[0].name])} rounds. {described}. "
        f"Other programs kept {median(foreign):.2f} cores busy at the median, {max(foreign):.2f} at most."
    )
    return ResultTable(columns=("tokens/s", "weights, MB", *(load.name for load in loads)), rows=rows, note=note)


def round_table(measured: Mapping[str, Measured], loads: Sequence[Load]) -> ResultTable:
    """Every single figure."""
    rounds = len(next(iter(measured.values())).rates[loads[0].name])
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, load.name, *result.rates[load.name]) for name, result in measured.items() for load in loads
    )
    columns = ("model", "load", *(f"round {number + 1}" for number in range(rounds)))
    return ResultTable(columns=columns, rows=rows, note="Tokens/s.")


def ratio_table(measured: Mapping[str, Measured], loads: Sequence[Load]) -> ResultTable:
    """How the models compare within the rounds."""
    rows = []
    for above, below in _PAIRS:
        cells = []
        for load in loads:
            interval = median_interval(ratios(measured[above].rates[load.name], measured[below].rates[load.name]))
            cells.append(f"{interval.median:.2f} [{interval.low:.2f}, {interval.high:.2f}]")
        rows.append((f"{above} / {below}", *cells))
    note = "Median of the ratios of the same round, with its 95% interval."
    return ResultTable(columns=("speed", *(load.name for load in loads)), rows=tuple(rows), note=note)


def share_table(
    measured: Mapping[str, Measured],
    loads: Sequence[Load],
    costs: Mapping[tuple[str, str], StepCost],
    limits: MachineLimits,
) -> ResultTable:
    """How near each model comes to what the machine can do."""
    columns = ["share of the limit"]
    for load in loads:
        columns += [f"{load.name}, {kind}" for kind in ("read", "compute")]
    rows = []
    for name, result in measured.items():
        cells = []
        for load in loads:
            cost, steps_per_s = costs[name, load.name], median(result.rates[load.name]) / load.step_tokens
            cells += [bandwidth_share(cost, steps_per_s, limits), arithmetic_share(cost, steps_per_s, limits)]
        rows.append((name, *(f"{cell:.1%}" for cell in cells)))
    note = (
        "Weights that a step must read, and matrix products that it must compute, by what the machine was seen to do: "
        f"{limits.read_bytes_per_s / 1e9:.1f} GB/s, {limits.bf16_operations_per_s / 1e9:.0f} billion bf16 and "
        f"{limits.int8_operations_per_s / 1e9:.0f} billion int8 operations a second on {limits.threads} threads. "
        "Attention and its cache are left out; experts are counted as evenly visited."
    )
    return ResultTable(columns=tuple(columns), rows=tuple(rows), note=note)


def quality_table(measured: Mapping[str, Measured], tokens: int) -> ResultTable:
    """Perplexity of every model, alone and by that of the model that it was rounded from."""
    texts = list(next(iter(measured.values())).perplexities)
    rows = []
    for name, result in measured.items():
        full = measured[_FULL_PRECISION.get(name, name)]
        cells: list[str | float | None] = [result.canary_difference]
        for text in texts:
            value = result.perplexities[text]
            cells += [value, f"{value / full.perplexities[text]:.4f}"]
        rows.append((name, *cells))
    columns = ["perplexity", "canary, nats"]
    for text in texts:
        columns += [text, "x bf16"]
    note = f"First {tokens} tokens of each text. Canary: mean |difference of log-probability| when the engine started."
    return ResultTable(columns=tuple(columns), rows=tuple(rows), note=note)


def memory_table(measured: Mapping[str, Measured], sizes: Mapping[str, int], kv_cache_bytes: int) -> ResultTable:
    """Memory of the computing process, and how long its start took."""
    rows = tuple(
        (
            name,
            f"{result.start_s:.1f}",
            *(
                f"{value / _MB:.0f}"
                for value in (
                    sizes[name],
                    result.resident_after_start,
                    result.resident_after_rounds,
                    result.resident_after_scoring,
                )
            ),
        )
        for name, result in measured.items()
    )
    note = (
        f"Resident memory with its key-value cache of {kv_cache_bytes / _MB:.0f} MB. A start is complete when the "
        "canary has passed; the first one also imports vLLM into the program that serves."
    )
    columns = ("model", "start, s", "weights, MB", "after start, MB", "after load, MB", "after scoring, MB")
    return ResultTable(columns=columns, rows=rows, note=note)


def fault_table(results: Iterable[FaultResult]) -> ResultTable:
    """What each check said to each planted fault."""
    rows = tuple(
        (
            result.check,
            result.fault,
            "-" if result.layer is None else str(result.layer),
            "yes" if result.detected else "no",
            result.difference,
            result.threshold,
        )
        for result in results
    )
    note = "Off by: nats of the whole model, or the relative error of one layer; shown where the model was refused."
    return ResultTable(columns=("check", "fault", "layer", "refused", "off by", "allowed"), rows=rows, note=note)


def limit_table(measured: Sequence[MachineLimits]) -> ResultTable:
    """What the machine did each time it was asked."""
    rows = tuple(
        (
            f"measurement {number + 1}",
            limits.read_bytes_per_s / 1e9,
            limits.bf16_operations_per_s / 1e9,
            limits.int8_operations_per_s / 1e9,
        )
        for number, limits in enumerate(measured)
    )
    note = f"{measured[0].threads} threads, in a process of its own. The shares are of the highest ones."
    return ResultTable(columns=("limits", "GB/s", "GFLOP/s bf16", "GOP/s int8"), rows=rows, note=note)


def profile_table(profile: StepProfile) -> ResultTable:
    """The most expensive operations of one decode step."""
    rows = tuple(
        (item.name, f"{item.share:.1%}", f"{item.microseconds / 1000:.3f}", f"{item.calls:.0f}")
        for item in profile.operations
    )
    note = f"{profile.calls:.0f} operations in all. Without the profiler a step takes {profile.step_ms:.2f} ms."
    return ResultTable(columns=("operation", "share", "ms", "calls"), rows=rows, note=note)


def _range(rates: Sequence[float]) -> str:
    return f"{median(rates):.1f} [{min(rates):.1f}, {max(rates):.1f}]"
