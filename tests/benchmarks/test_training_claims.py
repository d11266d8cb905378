"""From made-up measurements to the claims of training: every one is there, and each fails when it is not so."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    training_dapt,
    training_dedup,
    training_dsir,
    training_resume,
    training_router,
    training_sft,
    training_step,
)
from benchmarks.report import Claim
from benchmarks.training_cells import Cell, Found
from benchmarks.training_dedup import Planted
from benchmarks.training_experiment import EXPERIMENTS, Scope, experiment_named

REQUIRED = """
moe_loss_vs_dense_equal_flops = "reported"
moe_loss_vs_dense_equal_seconds = "reported"
margin_router_vs_switch = "reported"
dapt_domain_gain = ">= 0.05"
dapt_general_loss = "<= 0.01"
sft_refusal_f1_gain = "> 0"
dedup_recall = ">= 0.95"
dedup_false = "<= 0.01"
dsir_kl_reduction_vs_random = "> 0"
step_speed_vs_trainer = ">= 1.0"
resume_exact = "= 1"
"""


def found(variant: str, figures: dict[str, Any], seed: int = 0) -> Found:
    cell = Cell(experiment="made-up", variant=variant, seed=seed)
    return Found(cell=cell, figures=figures, date="2026-01-01", seconds=1)


def holding(claims: Sequence[Claim]) -> dict[str, bool]:
    return {claim.claim: claim.holds for claim in claims}


def values(claims: Sequence[Claim]) -> dict[str, float | None]:
    return {claim.claim: claim.value for claim in claims}


def test_the_claims_of_the_issue_are_all_there_and_fail_unmeasured() -> None:
    claims = [claim for name in EXPERIMENTS for claim in experiment_named(name).claims([])]
    assert {claim.claim: claim.bar for claim in claims} == tomllib.loads(REQUIRED)
    assert not any(claim.holds for claim in claims)
    assert all(claim.value is None for claim in claims)


def test_nothing_found_gives_no_tables() -> None:
    assert [dict(experiment_named(name).tables([])) for name in EXPERIMENTS] == [{}] * len(EXPERIMENTS)


def planted_counts(alike: int, found_alike: int, unlike: int, removed: int) -> Found:
    pairs = [Planted(original=2 * i, copy=2 * i + 1, similarity=0.9, corpus="x", edit="cut") for i in range(alike)]
    first = 2 * alike
    others = [
        Planted(original=first + 2 * i, copy=first + 2 * i + 1, similarity=0.4, corpus="x", edit="words")
        for i in range(unlike)
    ]
    kept = {pair.copy: pair.original for pair in pairs[:found_alike]} | {pair.original: 0 for pair in others[:removed]}
    figures = training_dedup.judge([*pairs, *others], kept)
    return found("planted", figures | {"removed_others": 0, "removed_others_unlike": 0})


@pytest.mark.parametrize(
    ("counts", "failing"),
    [
        ((100, 95, 100, 1), set()),
        ((100, 94, 100, 1), {"dedup_recall"}),
        ((100, 95, 100, 2), {"dedup_false"}),
    ],
)
def test_deduplication(counts: tuple[int, int, int, int], failing: set[str]) -> None:
    measured = [planted_counts(*counts)]
    claims = training_dedup.claims(measured)
    assert {name for name, holds in holding(claims).items() if not holds} == failing
    rows = training_dedup.tables(measured)["Planted near-duplicates"].rows
    assert [row[0] for row in rows] == ["cut", "words", "x"]


def test_a_removal_for_the_sake_of_another_document_is_not_a_find() -> None:
    pair = Planted(original=0, copy=1, similarity=0.9, corpus="x", edit="cut")
    assert training_dedup.judge([pair], {1: 7})["counts"]["alike, hit"] == 0
    assert training_dedup.judge([pair], {0: 1})["counts"]["alike, hit"] == 1


def test_one_domain_that_is_no_nearer_than_chance_fails_the_selection() -> None:
    def domains(*selected: float) -> Found:
        own = {"raw": 100, "planted": 10, "recall": 1.0, "kl_random": 1.0}
        return found("planted", {"domains": {str(i): own | {"kl_selected": kl} for i, kl in enumerate(selected)}})

    assert values(training_dsir.claims([domains(0.5, 0.9)])) == {"dsir_kl_reduction_vs_random": pytest.approx(0.1)}
    assert not training_dsir.claims([domains(0.5, 1.0)])[0].holds


def test_one_kill_with_another_curve_or_other_weights_fails() -> None:
    def kill(curve: bool, weights: bool) -> Found:
        return found("kill", {"same_curve": curve, "same_weights": weights, "phase": "training"})

    assert training_resume.claims([kill(True, True)] * 3)[0].holds
    for other in (kill(False, True), kill(True, False)):
        assert training_resume.claims([kill(True, True), other])[0].value == 0.5
    assert training_resume.tables([kill(True, True), kill(False, True)])["Kills"].rows == (("training", 2, 1, 2),)


def test_the_slowest_subject_counts_beside_trainer() -> None:
    def timed(variant: str, ours: float) -> Found:
        figures = {"seconds": {"ours": [ours] * 3, "trainer": [1.0] * 3}, "tokens": 100}
        return found(variant, figures | {"losses": {"ours": [2.0] * 3, "trainer": [2.0] * 3}})

    assert training_step.claims([timed("a", 0.8), timed("b", 1.0)])[0].holds
    assert not training_step.claims([timed("a", 0.8), timed("b", 1.02)])[0].holds
    assert training_step.tables([timed("a", 0.8)])["Step beside Trainer"].rows[0][3] == pytest.approx(1.25)


def routers(**bits: Sequence[float]) -> list[Found]:
    """Runs of variants, a value a seed."""
    health = {
        "max_violation": 0.5,
        "dead": 0.0,
        "entropy": 1.0,
        "steps": 3,
        "seconds": 1.0,
        "total": 5e6,
        "active": 2e6,
    }
    return [
        found(variant.replace("_", "-"), health | {"bits": {"all": value}}, seed)
        for variant, seeds in bits.items()
        for seed, value in enumerate(seeds)
    ]


def test_routers_are_compared_within_seeds() -> None:
    measured = routers(dense=[2.0, 3.0], dense_seconds=[1.9, 2.7], switch=[1.9, 2.8], margin=[1.9, 2.9])
    assert values(training_router.claims(measured)) == {
        "moe_loss_vs_dense_equal_flops": pytest.approx(-0.15),
        "moe_loss_vs_dense_equal_seconds": pytest.approx(0.05),
        "margin_router_vs_switch": pytest.approx(0.05),
    }


def test_ties_and_losses_are_called_so() -> None:
    measured = routers(dense=[2.0, 2.1, 2.2], switch=[1.9, 2.01, 2.1], margin=[1.91, 2.0, 2.1], bias=[2.0, 2.11, 2.21])
    rows = {row[0]: row for row in training_router.tables(measured)["Routers in pairs"].rows}
    assert {pair: row[-1] for pair, row in rows.items()} == {
        "switch - dense": "better",
        "bias - dense": "tie",
        "margin - dense": "better",
        "bias - switch": "worse",
        "margin - switch": "tie",
        "margin - bias": "better",
    }
    assert all(isinstance(row[4], float) and row[4] > 0 for row in rows.values())


def adapted(
    domain: float, general: float, other: float, rounded: tuple[float, float, float] | None = None
) -> list[Found]:
    """Adapted models beside a base of 1 in bf16 and of 2 in int8; the rounded one changed as the plain one did."""

    def bits(domain: float, general: float, other: float) -> dict[str, float]:
        return {"domain": domain, "general": general, "other": other}

    after = rounded or (2 * domain, 2 * general, 2 * other)
    models = {"base": bits(1, 1, 1), "base int8": bits(2, 2, 2)}
    models |= {"adapted": bits(domain, general, other), "adapted int8": bits(*after)}
    return [
        found("texts", {"domain": "x", "general": ["general", "other"]}),
        found("train", {"tokens": 5, "seconds": 1}),
        found("measure", {"bits": models}),
    ]


@pytest.mark.parametrize(
    ("bits", "failing"),
    [
        ((0.949, 1.009, 0.9), set()),
        ((0.951, 1.009, 0.9), {"dapt_domain_gain"}),
        ((0.949, 1.0, 1.011), {"dapt_general_loss"}),
        ((0.949, 1.02, 0.9), {"dapt_general_loss"}),
    ],
)
def test_adaptation(bits: tuple[float, float, float], failing: set[str]) -> None:
    claims = training_dapt.claims(adapted(*bits))
    assert {name for name, holds in holding(claims).items() if not holds} == failing


def test_an_adaptation_that_rounding_undoes_fails() -> None:
    measured = adapted(0.5, 0.9, 0.9, rounded=(2.0, 2.2, 1.8))
    assert values(training_dapt.claims(measured)) == {
        "dapt_domain_gain": pytest.approx(0.0),
        "dapt_general_loss": pytest.approx(0.1),
    }
    rows = training_dapt.tables(measured)["Adaptation to a documentation"].rows
    assert [row[0] for row in rows] == ["base", "base int8", "adapted", "adapted int8"]


def test_tuning_that_declines_no_better_fails() -> None:
    def tuned(before: float, after: float) -> list[Found]:
        def quality(value: float) -> dict[str, Any]:
            names = ("gold_hit", "refusal_precision", "refusal_recall", "exactness", "citations", "questions")
            return {"extractive": dict.fromkeys(names, 1.0) | {"refusal_f1": value}}

        fitted = dict.fromkeys(("decline_f1", "log_loss", "first_span"), 0.5)
        return [
            found("train", {"seconds": 1.0, "made": {"choice": 3}, "left_out": {}}),
            found("before", {"modes": quality(before)}),
            found("after", {"modes": quality(after)}),
            found("after-calibrated", {"modes": quality(1.0), "report": {"before": fitted, "after": fitted}}),
        ]

    assert values(training_sft.claims(tuned(0.5, 0.6))) == {"sft_refusal_f1_gain": pytest.approx(0.1)}
    assert not training_sft.claims(tuned(0.5, 0.5))[0].holds
    tables = training_sft.tables(tuned(0.5, 0.6))
    rows = [row[0] for row in tables["Grounded answers before and after tuning"].rows]
    assert rows == ["extractive, before", "extractive, after", "extractive, after and calibrated"]
    rows = [row[0] for row in tables["Numbers of cited answers"].rows]
    assert rows == ["after tuning, shipped", "after tuning, fitted"]


def test_both_models_are_asked_again_with_numbers_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa" / "cmrc2018_trial.jsonl").touch()
    before = found("before", {"base": "w/moe", "base_digest": "b", "modes": {}})
    trained = found("train", {"rounded": "w/tuned-int8", "artifact_digest": "t"})
    scope = Scope(quick=False, data=tmp_path)
    assert [cell.variant for cell in training_sft.cells(scope, [])] == ["before"]
    assert [cell.variant for cell in training_sft.cells(scope, [before])] == ["before", "train"]
    cells = {cell.variant: cell.settings for cell in training_sft.cells(scope, [before, trained])}
    assert cells["before-calibrated"] == {"rounded": "w/moe-int8", "digest": "b"}
    assert cells["after-calibrated"] == {"rounded": "w/tuned-int8", "digest": "t"}
    quick = training_sft.cells(Scope(quick=True, data=tmp_path), [before, trained])
    assert [cell.variant for cell in quick] == ["before", "train", "after"]


def test_questions_of_the_test_set_are_found_in_examples() -> None:
    questions = ["How are names resolved in a block?", "什么是闭包？"]
    clean = ['{"messages": [{"content": "How are blocks resolved?"}]}']
    assert training_sft.leaked(questions, clean) == []
    dirty = [
        '{"messages": [{"content": "Q: how are  names resolved in a block?\\nA: so."}]}',
        '{"content": "什么是闭包？"}',
    ]
    assert training_sft.leaked(questions, dirty) == questions
