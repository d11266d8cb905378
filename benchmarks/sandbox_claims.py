"""From what was measured of the sandbox to claims and tables."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.paired import median_interval, ratios
from benchmarks.report import Claim, ResultTable
from benchmarks.sandbox_ways import OURS

__all__ = [
    "HostileRun",
    "Rates",
    "hostile_table",
    "quantile",
    "rate_table",
    "sandbox_claims",
    "way_table",
]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Runs per second of the same few seconds, round by round."""

    forks: tuple[float, ...]
    """One process that forks, and lets the child end."""
    forks_by_two: tuple[float, ...]
    """Two such processes, together."""
    single: tuple[float, ...]
    """Two threads that run programs one by one."""
    batched: tuple[float, ...]
    """Two threads that run programs in batches."""


@dataclass(frozen=True, kw_only=True)
class HostileRun:
    """The hostile programs in one tier, run by one user."""

    tier: str
    user: str
    programs: int
    contained: int
    note: str = ""

    @property
    def share(self) -> float:
        """Of the programs, those that were contained; 0 if none were run."""
        return self.contained / self.programs if self.programs else 0.0


def quantile(samples: Sequence[float], share: float) -> float:
    """The value that this share of the samples does not exceed, by linear interpolation."""
    if len(samples) == 1:
        return samples[0]
    return statistics.quantiles(samples, n=1000, method="inclusive")[round(share * 1000) - 1]


def sandbox_claims(
    times_ms: Sequence[float], rates: Rates, cold_ms: Sequence[float], hostile: Sequence[HostileRun]
) -> list[Claim]:
    """Every claim of the issue."""
    by_fork = ratios(rates.single, rates.forks)
    by_batch = ratios(rates.batched, rates.single)
    programs = sum(run.programs for run in hostile)
    contained = sum(run.contained for run in hostile) / programs if programs else None
    kept = tuple(times_ms)
    return [
        Claim(claim="warm_median_ms", value=statistics.median(kept), unit="ms", bar="<= 2", samples=kept),
        Claim(claim="warm_p95_ms", value=quantile(kept, 0.95), unit="ms", bar="<= 5", samples=kept),
        Claim(
            claim="throughput_vs_fork",
            value=statistics.median(by_fork),
            unit="x bare fork and exit",
            bar=">= 0.5",
            samples=tuple(by_fork),
        ),
        Claim(
            claim="batched_vs_single", value=statistics.median(by_batch), unit="x", bar=">= 3", samples=tuple(by_batch)
        ),
        Claim(claim="cold_ms", value=statistics.median(cold_ms), unit="ms", bar="<= 150", samples=tuple(cold_ms)),
        Claim(
            claim="hostile_contained",
            value=contained,
            unit="share, every tier, root and user",
            bar="= 1",
            samples=tuple(run.share for run in hostile),
        ),
    ]


def way_table(
    times_ms: Mapping[str, Sequence[float]], kinds: Mapping[str, str], missing: Mapping[str, str]
) -> ResultTable:
    """Times of every way, and how they compare with ours in the same rounds."""
    rows: list[tuple[str | float | None, ...]] = []
    for name, times in times_ms.items():
        against = median_interval(ratios(times, times_ms[OURS])).median if len(times) == len(times_ms[OURS]) else None
        spread = tuple(quantile(times, share) for share in (0.05, 0.5, 0.95, 0.99))
        rows.append((name, kinds.get(name, "sandbox"), str(len(times)), *spread, against))
    rows += [(name, f"missing: {needs}", "0", None, None, None, None, None) for name, needs in missing.items()]
    columns = ("way", "kind", "runs", "p5 ms", "median ms", "p95 ms", "p99 ms", "x ours")
    note = "One run of each in every round, in a turning order. 'insecure' keeps nothing in, 'subset' is not CPython."
    return ResultTable(columns=columns, rows=tuple(rows), note=note)


def rate_table(rates: Rates, resident_mib: float) -> ResultTable:
    """Runs per second."""
    named = {
        "bare fork and exit, one process": rates.forks,
        "bare fork and exit, two processes": rates.forks_by_two,
        "programs one by one, two threads": rates.single,
        "programs in batches of 8, two threads": rates.batched,
    }
    rows = tuple(
        (name, statistics.median(figures), min(figures), max(figures), *_against(figures, rates))
        for name, figures in named.items()
    )
    columns = ("what", "median /s", "lowest /s", "highest /s", "x one fork loop", "x two fork loops")
    note = f"The process that only forks has {resident_mib:.1f} MiB resident, with the modules of the base zygote."
    return ResultTable(columns=columns, rows=rows, note=note)


def _against(figures: Sequence[float], rates: Rates) -> tuple[float, float]:
    return tuple(statistics.median(ratios(figures, base)) for base in (rates.forks, rates.forks_by_two))  # type: ignore[return-value]


def hostile_table(runs: Sequence[HostileRun]) -> ResultTable:
    """What became of the hostile programs."""
    rows = tuple((run.tier, run.user, str(run.programs), str(run.contained), run.note) for run in runs)
    columns = ("tier", "user", "programs", "contained", "note")
    return ResultTable(columns=columns, rows=rows, note="tests/tools/sandbox/hostile: what each must not achieve.")
