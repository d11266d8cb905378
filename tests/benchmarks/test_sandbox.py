"""The benchmark of the sandbox: every claim is there, each can fail, and what it measures it has really run."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import sandbox
from benchmarks.sandbox_claims import HostileRun, Rates, hostile_table, quantile, rate_table, sandbox_claims, way_table
from benchmarks.sandbox_forks import fork_loop
from benchmarks.sandbox_ways import OURS, PROGRAM, VALUE, Way, missing_ways, opened_ways

REQUIRED = {
    "warm_median_ms": "<= 2",
    "warm_p95_ms": "<= 5",
    "throughput_vs_fork": ">= 0.5",
    "batched_vs_single": ">= 3",
    "cold_ms": "<= 150",
    "hostile_contained": "= 1",
}
RATES = Rates(
    forks=(1000.0, 800.0, 900.0),
    forks_by_two=(1500.0, 1500.0, 1500.0),
    single=(600.0, 480.0, 540.0),
    batched=(2400.0,) * 3,
)


def hostile(contained: int) -> list[HostileRun]:
    return [
        HostileRun(tier="namespaces", user="root", programs=100, contained=100),
        HostileRun(tier="seccomp", user="65534", programs=100, contained=contained),
    ]


def failing(
    times: Sequence[float] = (1.0, 1.5, 2.0),
    rates: Rates = RATES,
    cold: Sequence[float] = (100.0,),
    contained: int = 100,
) -> set[str]:
    claims = sandbox_claims(times, rates, cold, hostile(contained))
    assert {claim.claim: claim.bar for claim in claims} == REQUIRED
    return {claim.claim for claim in claims if not claim.holds}


def test_each_claim_holds_and_fails_by_what_was_measured() -> None:
    slow = Rates(forks=RATES.forks, forks_by_two=RATES.forks_by_two, single=(400.0,) * 3, batched=(1100.0,) * 3)
    assert failing() == set()
    assert failing(times=(3.0, 3.0, 3.0)) == {"warm_median_ms"}
    assert failing(times=[1.0] * 18 + [9.0] * 2) == {"warm_p95_ms"}
    assert failing(rates=slow) == {"throughput_vs_fork", "batched_vs_single"}
    assert failing(cold=(100.0, 200.0, 300.0)) == {"cold_ms"}
    assert failing(contained=99) == {"hostile_contained"}


def test_nothing_run_is_nothing_contained() -> None:
    claims = {claim.claim: claim for claim in sandbox_claims((1.0,), RATES, (1.0,), [])}
    assert claims["hostile_contained"].value is None
    assert not claims["hostile_contained"].holds
    assert HostileRun(tier="monty", user="root", programs=0, contained=0).share == 0


def test_quantiles_lie_between_the_samples() -> None:
    assert quantile([5.0], 0.95) == 5.0
    assert quantile([float(rank) for rank in range(101)], 0.95) == pytest.approx(95)


def test_tables_name_what_is_missing_and_compare_within_rounds() -> None:
    table = way_table(
        {OURS: [1.0, 2.0], "other": [3.0, 4.0]}, {OURS: "sandbox", "other": "insecure"}, {"third": "bwrap"}
    )
    assert [row[0] for row in table.rows] == [OURS, "other", "third"]
    assert table.rows[1][-1] == pytest.approx(2.5)
    assert table.rows[2][1] == "missing: bwrap"
    rows = {row[0]: row for row in rate_table(RATES, 12.0).rows}
    assert rows["programs one by one, two threads"][-2] == pytest.approx(0.6)
    assert hostile_table(hostile(99)).rows[1][3] == "99"


def test_a_way_that_answers_something_else_is_no_time() -> None:
    right, wrong = Way("right", "sandbox", lambda: VALUE), Way("wrong", "sandbox", lambda: ["2024-03-11", 164])
    assert {name: len(times) for name, times in sandbox.warm_times([right], 3, print).items()} == {"right": 3}
    with pytest.raises(RuntimeError, match="wrong answered"):
        sandbox.warm_times([right, wrong], 3, print)


def test_the_program_has_ten_lines_and_every_way_that_is_there_runs_it() -> None:
    assert len(PROGRAM.splitlines()) == 10
    with opened_ways() as ways:
        assert ways[0].name == OURS
        assert {way.name for way in ways}.isdisjoint(missing_ways())
        assert [way.run() for way in ways] == [VALUE] * len(ways)


def test_processes_are_forked_and_counted() -> None:
    with fork_loop() as loop:
        loop.begin(0.1)
        assert loop.rate() > 0
        assert loop.resident_bytes > 2**20


def test_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    full_times, full_rates = sandbox.warm_times, sandbox._rates
    monkeypatch.setattr(sandbox, "warm_times", lambda ways, rounds, notice: full_times(ways, 2, notice))
    monkeypatch.setattr(sandbox, "_rates", lambda rounds, seconds, notice: full_rates(1, 0.1, notice))
    monkeypatch.setattr(sandbox, "cold_times", lambda starts, times=sandbox.cold_times: times(1))
    monkeypatch.setattr(sandbox, "_hostile", lambda *_: hostile(100)[0])
    assert sandbox.main(["--quick", "--json", str(tmp_path / "out.json")]) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert {claim["claim"]: claim["bar"] for claim in report["claims"]} == REQUIRED
    assert all(claim["value"] is not None and claim["samples"] for claim in report["claims"])
    assert set(report["tables"]) == {"Ways to run a program", "Throughput", "Hostile programs"}
    assert "Ways to run a program" in capsys.readouterr().out
