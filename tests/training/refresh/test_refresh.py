"""A refresh: what is better is published and served, what is worse is refused; what is interrupted goes on."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moesaic import v1
from moesaic.artifact import ModelArtifact, ModelRegistry, RegistryVerb
from moesaic.client import Client
from moesaic.errors import (
    CanaryError,
    CorpusError,
    DamagedArtifactError,
    DeadlineExceededError,
    GateError,
    RecipeError,
)
from moesaic.training.pretraining import pretrain
from moesaic.training.refresh import Gate, GateConfig, Refreshed, load_refresh_recipe, refresh, refreshing
from tests.cli.running import refusal, run
from tests.training.refresh.following import following_server
from tests.training.tiny_run import one_thread, recipe_table, write_corpus, write_recipe

QUESTIONS = [{"prompt": "the bridge ", "choices": ["carries", "qzqzqzq"], "answer": 0}]


@pytest.fixture(autouse=True)
def _single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a training recipe, held-out text, questions, and a refresh of them."""
    table = recipe_table(tmp_path) | {"output": {"folder": str(tmp_path / "model"), "quantize": "int8"}}
    write_recipe(tmp_path / "train.toml", table)
    write_corpus(tmp_path / "held-out", characters=1500, seed=9)
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    write_refresh(tmp_path)
    return tmp_path


def write_refresh(place: Path, settings: tuple[str, ...] = (), **gate: Any) -> Path:
    refreshing = {
        "registry": str(place / "registry"),
        "recipe": "train.toml",
        "settings": list(settings),
        "wait_s": 60.0,
    }
    gate = {"texts": {"general": str(place / "held-out")}, "row_tokens": 64} | gate
    return write_recipe(place / "refresh.toml", {"refresh": refreshing, "gate": gate})


def refreshed(place: Path, server: Client | None = None) -> Refreshed:
    return refresh(load_refresh_recipe(place / "refresh.toml"), server=server)


def again(place: Path, steps: int, name: str, **gate: Any) -> None:
    """The next refresh: the same training with more steps, in folders of its own."""
    settings = (f"run.steps={steps}", f"run.folder={place / name}", f"output.folder={place / name}-model")
    write_refresh(place, settings, **gate)


def verbs(place: Path) -> list[RegistryVerb]:
    return [event.verb for event in ModelRegistry.open(place / "registry").history()]


def test_the_first_version_has_nothing_to_be_compared_with(place: Path) -> None:
    found = refreshed(place)
    registry = ModelRegistry.open(place / "registry")
    assert (found.former, found.comparisons, found.served) == (None, (), False)
    assert registry.current == found.version
    assert registry.artifact().manifest.quantization is not None
    assert registry.history()[0].facts["recipe"] == str(place / "refresh.toml")


def test_what_is_better_is_published_and_served(place: Path) -> None:
    first = refreshed(place).version
    registry = ModelRegistry.open(place / "registry")
    again(place, 30, "second", max_change={"general": -0.01}, questions={"qa": str(place / "questions.jsonl")})
    with following_server(registry) as target, Client(target) as server:
        found = refreshed(place, server)
        assert server.get_model_info(v1.GetModelInfoRequest()).weight_version.startswith(found.version)
    assert (found.former, found.served) == (first, True)
    text, questions = found.comparisons
    assert text.candidate < 0.99 * text.served
    assert (questions.measure, questions.candidate) == ("share right", 1.0)
    assert verbs(place)[-2:] == [RegistryVerb.PUBLISHED, RegistryVerb.SERVED]
    assert registry.history()[-2].facts["gate"][0]["passes"] is True


def test_what_is_worse_is_refused_and_the_former_stays(place: Path) -> None:
    again(place, 30, "good")
    kept = refreshed(place).version
    again(place, 2, "bad")
    with pytest.raises(GateError, match=r"general: bits per byte .* \(must be ≤") as refused:
        refreshed(place)
    assert kept in str(refused.value)
    registry = ModelRegistry.open(place / "registry")
    assert registry.current == kept
    last = registry.history()[-1]
    assert (last.verb, last.facts["gate"][0]["passes"]) == (RegistryVerb.REFUSED, False)
    assert registry.artifact(last.version).manifest.metrics == {}


def test_what_the_server_cannot_load_is_refused_by_it(place: Path) -> None:
    kept = refreshed(place).version
    again(place, 30, "second")
    registry = ModelRegistry.open(place / "registry")
    with following_server(registry, refuses=True) as target, Client(target) as server:
        with pytest.raises(GateError, match=r"the server refused .* other numbers"):
            refreshed(place, server)
        assert server.get_model_info(v1.GetModelInfoRequest()).weight_version.startswith(kept)
    assert registry.current == kept


def test_a_refusal_is_told_when_the_former_version_is_current_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server notes it first, and turns back then; somebody may look in between."""
    kept = refreshed(place).version
    again(place, 30, "second")
    registry, publish = ModelRegistry.open(place / "registry"), ModelRegistry.publish

    def refused(self: ModelRegistry, *arguments: Any, **facts: Any) -> str:
        version = publish(self, *arguments, **facts)
        self.refuse(version, back_to=None, reason="other numbers")
        return version

    monkeypatch.setattr(ModelRegistry, "publish", refused)
    turning = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: registry._link(kept))
    monkeypatch.setattr(refreshing, "time", turning)
    with Client("127.0.0.1:1") as server, pytest.raises(GateError, match=f"serves {kept} on: other numbers"):
        refreshed(place, server)


def test_a_server_that_does_not_follow_is_not_waited_for_for_ever(place: Path) -> None:
    refreshed(place)
    again(place, 30, "second")
    recipe = load_refresh_recipe(place / "refresh.toml", ["refresh.wait_s=0.1"])
    with Client("127.0.0.1:1") as server, pytest.raises(DeadlineExceededError, match=r"wait_s=0\.1"):
        refresh(recipe, server=server)
    assert verbs(place) == [RegistryVerb.PUBLISHED] * 2


def test_the_same_refresh_again_trains_and_publishes_nothing(place: Path) -> None:
    first = refreshed(place)
    lines = (place / "run" / "metrics.jsonl").read_text()
    assert refreshed(place).version == first.version
    assert (place / "run" / "metrics.jsonl").read_text() == lines
    assert verbs(place) == [RegistryVerb.PUBLISHED]


def test_a_damaged_candidate_is_refused_before_anything_is_published(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def damaged(*arguments: Any, **options: Any) -> Any:
        outcome = pretrain(*arguments, **options)
        weights = next(outcome.artifacts[-1].folder.glob("*.safetensors"))
        content = bytearray(weights.read_bytes())
        content[-1] ^= 0xFF
        weights.write_bytes(bytes(content))
        return outcome

    monkeypatch.setattr(refreshing, "pretrain", damaged)
    with pytest.raises(DamagedArtifactError, match="altered"):
        refreshed(place)
    assert verbs(place) == []


def test_a_candidate_that_computes_something_else_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(artifact: ModelArtifact) -> list[list[float]]:
        canary = artifact.manifest.canary
        assert canary is not None
        return [[value - 1.0 for value in row] for row in canary.logprobs]

    monkeypatch.setattr(refreshing, "replay_plain", other)
    with pytest.raises(CanaryError):
        refreshed(place)
    assert verbs(place) == []


def test_a_gate_is_the_same_for_equal_models(place: Path) -> None:
    refreshed(place)
    artifact = ModelRegistry.open(place / "registry").artifact()
    config = GateConfig(texts={"a": place / "held-out"}, questions={"q": place / "questions.jsonl"}, row_tokens=64)
    compared = Gate(config).compare(artifact, artifact, lambda *_: None)
    assert [each.candidate == each.served and each.passes for each in compared] == [True, True]


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"texts": {}}, "measure nothing"),
        ({"max_change": {"other": 0.1}}, "which nothing measures"),
        ({"max_loss": {"q": 0.1}}, "which nothing measures"),
        ({"row_tokens": 1}, "row_tokens=1"),
        ({"max_byte": 1}, "did you mean gate.max_bytes?"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(place: Path, gate: dict[str, Any], words: str) -> None:
    write_refresh(place, **gate)
    with pytest.raises(RecipeError) as refused:
        load_refresh_recipe(place / "refresh.toml")
    assert words in str(refused.value)


def test_a_recipe_without_an_artifact_is_refused(place: Path) -> None:
    write_recipe(place / "train.toml", recipe_table(place))
    with pytest.raises(RecipeError, match="writes no artifact"):
        load_refresh_recipe(place / "refresh.toml")


@pytest.mark.parametrize("first", [True, False])
def test_what_the_gate_lacks_is_told_before_anything_is_trained(place: Path, first: bool) -> None:
    if not first:
        refreshed(place)
    again(place, 8, "second", questions={"facts": str(place / "questions.jsonl")})
    (place / "questions.jsonl").rename(place / "elsewhere.jsonl")
    with pytest.raises(CorpusError, match=r"gate\.questions\.facts: .*questions\.jsonl"):
        refreshed(place)
    (place / "elsewhere.jsonl").rename(place / "questions.jsonl")
    shutil.rmtree(place / "held-out")
    with pytest.raises(CorpusError, match=r"gate\.texts\.general: .*held-out"):
        refreshed(place)
    assert not (place / "second").exists()
    assert (place / "registry").exists() is not first


def test_the_command_says_what_came_of_it(place: Path) -> None:
    first = json.loads(run("refresh", place / "refresh.toml", "--json").stdout)
    assert (first["former"], first["gate"], first["served"]) == (None, [], False)
    again(place, 30, "second")
    outcome = run("refresh", place / "refresh.toml")
    assert "general: bits per byte" in outcome.stdout
    assert f"is current, after {first['version']}" in outcome.stdout
    again(place, 2, "third")
    assert "GateError" in refusal(9, "refresh", place / "refresh.toml")
