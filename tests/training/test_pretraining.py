"""A run learns, goes on exactly where it was killed, recovers from spikes, and ends in an artifact."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from moesaic.artifact import ModelArtifact
from moesaic.errors import CorpusError, DivergedError, InputError, RecipeError
from moesaic.model.canary import replay_plain
from moesaic.model.plain import load_plain
from moesaic.training.pretraining import pretrain
from moesaic.training.recipe import recipe_of
from tests.training.tiny_run import lines_of, one_thread, recipe_table, run, write_corpus


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def events_of(folder: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("plots_drawn")
def test_a_run_learns_and_measures_every_step(tmp_path: Path) -> None:
    seen: list[int] = []
    outcome = run(tmp_path, "run.steps=30", report=lambda line: seen.append(line["step"]))
    lines = lines_of(tmp_path / "run")
    assert outcome.resumed_at is None
    assert [line["step"] for line in lines] == list(range(1, 31)) == seen
    assert lines[-1]["loss"] < lines[0]["loss"] - 1.5
    assert lines[0]["loss"] == pytest.approx(math.log(320), abs=0.7)
    for line in lines:
        # One token is one byte, but the end token is none.
        assert line["bits_per_byte"] >= line["loss"] / math.log(2) - 1e-9
        assert line["tokens"] == 4 * 32
        assert len(line["experts"]) == 1
        assert line["learning_rate"] <= 0.01
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "step-00000028.0",
        "step-00000030.0",
    ]
    drawn = {path.stem for path in (tmp_path / "run" / "plots").iterdir()}
    assert {"loss", "gradient_norm", "expert_load", "max_violation", "router_entropy", "dead_experts"} <= drawn


def test_two_runs_of_one_recipe_are_equal_and_the_seed_matters(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path / name, f"run.seed={seed}")
    first, second, third = (lines_of(tmp_path / name / "run") for name in "abc")
    assert first == second
    assert first != third


def test_a_loss_that_is_not_finite_stops_the_run_with_step_and_culprit(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="not finite") as caught:
        run(tmp_path, "optimizer.learning_rate=1e30", "optimizer.clip_norm=0", "guard.enabled=false")
    assert 1 <= caught.value.step <= 6
    assert caught.value.culprit
    assert len(lines_of(tmp_path / "run")) == caught.value.step - 1


def test_spikes_roll_back_and_go_on_with_the_next_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spikes = {5, 6, 7}
    _spiking(monkeypatch, spikes)
    settings = ["guard.warmup_steps=3", "guard.rollback_after=3", "guard.sigmas=30", "run.steps=8"]
    run(tmp_path, *settings)
    lines = lines_of(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert events_of(tmp_path / "run").count("skip") == 2
    assert events_of(tmp_path / "run").count("roll back") == 1
    # Two spikes were skipped before the third rolled back to the checkpoint behind step 6; its skipped steps stay.
    assert [line["skipped"] for line in lines] == [False] * 4 + [True, True] + [False] * 2
    names = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert "step-00000008.1" in names


def test_too_many_rollbacks_give_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _spiking(monkeypatch, set(range(5, 100)))
    with pytest.raises(DivergedError, match="after 1 rollbacks"):
        run(
            tmp_path,
            *("guard.warmup_steps=3", "guard.rollback_after=2", "guard.max_rollbacks=1", "run.steps=30"),
            *("guard.sigmas=30", "guard.decay=0.9999"),
        )


def _spiking(monkeypatch: pytest.MonkeyPatch, calls: set[int]) -> None:
    """Make the gradients of some calls of the step explode."""
    from moesaic.training import training_step

    real, made = training_step.gradient_norm, [0]

    def spiking(parameters: Any) -> float:
        made[0] += 1
        return real(parameters) * (1e6 * 1.5 ** made[0] if made[0] in calls else 1.0)

    monkeypatch.setattr(training_step, "gradient_norm", spiking)


def test_the_artifact_is_the_trained_model_with_its_lineage(tmp_path: Path) -> None:
    text = write_corpus(tmp_path, characters=500, seed=8)
    target = tmp_path / "artifact"
    outcome = run(
        tmp_path,
        *(f"output.folder={target}", "output.dtype=float32", "output.quantize=int8"),
        f"evaluation.sets.text={text}",
    )
    plain, rounded = outcome.artifacts
    plain.verify(lambda *_: None)
    manifest = ModelArtifact.open(target).manifest
    assert manifest.lineage.operation == "pretrain"
    assert manifest.lineage.base == "scratch"
    assert manifest.lineage.options["optimizer.learning_rate"] == 0.01
    assert manifest.metrics["text.bits_per_byte"] == outcome.figures["text.bits_per_byte"]
    assert manifest.architecture.experts_per_layer == (0, 4)
    assert manifest.canary is not None
    assert manifest.canary.check(replay_plain(plain)) < 1e-4
    assert rounded.manifest.quantization is not None
    assert rounded.manifest.lineage.parent == plain.digest


def test_an_artifact_that_is_there_is_kept_if_it_is_this_runs_own(tmp_path: Path) -> None:
    setting = f"output.folder={tmp_path / 'artifact'}"
    (first,) = run(tmp_path / "a", setting).artifacts
    (again,) = run(tmp_path / "a", setting).artifacts
    assert again.digest == first.digest
    with pytest.raises(InputError, match="exists already"):
        run(tmp_path / "b", setting, "run.seed=2")
    (replaced,) = run(tmp_path / "b", setting, "run.seed=2", "output.overwrite=true").artifacts
    assert replaced.digest != first.digest


def test_an_artifact_is_continued_with_its_digest_as_parent(tmp_path: Path) -> None:
    target = tmp_path / "artifact"
    (first,) = run(tmp_path, f"output.folder={target}", "output.dtype=float32").artifacts
    table = recipe_table(tmp_path / "more")
    table["model"] = {"start": "continue", "base": str(target)}
    table["run"]["steps"] = 1
    table["optimizer"]["learning_rate"] = 1e-30
    table["optimizer"]["weight_decay"] = 0.0
    table["output"] = {"folder": str(tmp_path / "second"), "dtype": "float32"}
    (second,) = pretrain(recipe_of(table)).artifacts
    assert second.manifest.lineage.parent == first.digest
    assert [step.operation for step in second.manifest.lineage.ancestors] == ["pretrain"]
    before, after = load_plain(target).state_dict(), load_plain(tmp_path / "second").state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(tensor, after[name], atol=1e-7, rtol=0)


def test_a_dense_model_trains_without_routers(tmp_path: Path) -> None:
    run(tmp_path, "model.config.num_experts_per_layer=[0, 0]")
    lines = lines_of(tmp_path / "run")
    assert all("experts" not in line and line["router_loss"] == 0 for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["batch.sequence_length=128"], "exceeds the model's context of 64"),
        (["data.folder=x"], r"data\.sources is missing"),
        (["prepared.folder=x"], "here is text and prepared"),
        (["model.config.num_experts_per_layer=[0, 4, 4]"], "has 3 entries for 2 layers"),
        (["model.config.hidden_sizes=3"], r"model\.config\.hidden_sizes is no field"),
        (["model.start=upcycle"], "needs base"),
        (["schedule.warmup_steps=7"], "do not fit into a run of 6 steps"),
        (["batch.initial_rows=3", "batch.growth_steps=2"], "must be a multiple of initial_rows=3"),
        (["optimizer.kind=sgd"], "optimizer.kind='sgd' is unknown"),
        (["output.quantize=int8"], "needs folder"),
        (["distributed.cpu_offload=true"], "needs strategy='fsdp'"),
        (["model.preset=huge"], "model.preset='huge' is unknown"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(tmp_path: Path, settings: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        run(tmp_path, *settings)


def test_text_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="there is no file or folder"):
        run(tmp_path, f'text.paths=["{tmp_path / "none.txt"}"]')
