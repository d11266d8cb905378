"""A recipe of pairs: from documents to a classifier that is measured, printed and saved, by one command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moesaic.errors import InputError, RecipeError
from moesaic.training.tuning.pair_classifier import FACTS_NAME, PairClassifier
from moesaic.training.tuning.pair_recipe import PairRecipe, load_pair_recipe, train_pair_recipe
from moesaic.training.tuning.text_pair import PairRelation
from tests.cli.running import refusal, run
from tests.repository import ROOT
from tests.training.tuning.tiny_encoder import FILLERS, SUBJECTS

RECIPE = ROOT / "recipes" / "pairs-relevance.toml"


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents whose headings are subjects, each with a passage on it.

    Passages begin with their subject: that is learnt from every seed, so not by luck of this machine's roundings.
    """
    folder = tmp_path_factory.mktemp("handbook")
    random = np.random.default_rng(0)
    for number in range(90):
        parts = []
        for subject in random.permutation(SUBJECTS)[:3].tolist():
            words = [subject, *random.choice(FILLERS, 3)]
            parts.append(f"# {subject}\n\n{' '.join(words)}\n")
        (folder / f"{number}.md").write_text("\n".join(parts), encoding="utf-8")
    (folder / "broken.html").write_bytes(b"\0\1\2")
    return folder


def settings(handbook: Path, encoder: Path, place: Path, *more: str) -> list[str]:
    return [
        f'corpus.documents=["{handbook}"]',
        "corpus.most_pairs=640",
        "pairs.passage_tokens=16",
        f"training.encoder={encoder}",
        "training.max_tokens=32",
        "training.epochs=40",
        "training.learning_rate=2e-3",
        "training.measure_every=50",
        f"output.folder={place / 'classifier'}",
        *more,
    ]


def flags(values: list[str]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def test_a_command_trains_measures_prints_and_saves(handbook: Path, encoder: Path, tmp_path: Path) -> None:
    values = settings(handbook, encoder, tmp_path)
    outcome = run("train-pairs", RECIPE, "--json", *flags(values))
    assert outcome.code == 0, outcome
    found = json.loads(outcome.stdout)
    assert found["pairs"]["train"] <= 640
    assert found["before"]["auc"] < 0.75
    assert found["after"]["auc"] > 0.85
    assert found["hard_auc"] > 0.8
    assert [Path(problem["path"]).name for problem in found["problems"]] == ["broken.html"]

    folder = Path(found["folder"])
    facts = json.loads((folder / FACTS_NAME).read_text())
    assert facts["relation"] == "relevance"
    assert facts["after"] == found["after"]
    assert facts["options"]["learning_rate"] == 2e-3
    right, wrong = PairClassifier.load(folder).probabilities([("cat", "cat w1 w2"), ("cat", "dog w1 w2")])
    assert right > 0.5 > wrong

    said = refusal(2, "train-pairs", RECIPE, *flags(values))
    assert "is there already" in said

    again = run("train-pairs", RECIPE, *flags([*values, "output.overwrite=true", "training.epochs=1"]))
    assert again.code == 0, again
    for words in ("before: AUC 0.", "after ", "within a document: AUC", f"the classifier is in {folder}"):
        assert words in again.stdout
    assert "left out" in again.stderr
    assert "broken.html" in again.stderr


def test_the_same_call_goes_on_after_an_interruption(handbook: Path, encoder: Path, tmp_path: Path) -> None:
    recipe = load_pair_recipe(RECIPE, settings(handbook, encoder, tmp_path, "training.epochs=6"))
    steps: list[int] = []

    def interrupt(step: int, _: int, __: float) -> None:
        steps.append(step)
        if step == 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_pair_recipe(recipe, progress=interrupt)
    kept = tmp_path / "classifier.run"
    assert kept.is_dir()
    assert not recipe.output.folder.exists()
    with pytest.raises(RecipeError, match=r"classifier\.run/checkpoints holds an unfinished training with other"):
        train_pair_recipe(load_pair_recipe(RECIPE, settings(handbook, encoder, tmp_path, "training.epochs=7")))

    steps.clear()
    outcome = train_pair_recipe(recipe, progress=lambda step, *_: steps.append(step))
    assert steps == list(range(51, outcome.trained.steps + 1))
    assert PairClassifier.load(outcome.folder).max_tokens == 32
    assert not kept.exists()


def test_coherence_and_questions(handbook: Path, tmp_path: Path) -> None:
    table: dict[str, Any] = {"documents": [str(handbook)], "relation": "coherence"}

    def splits(**changes: Any) -> Any:
        keys = [f"corpus.{key}={json.dumps(value)}" for key, value in (table | changes).items()]
        return load_pair_recipe(RECIPE, [*keys, "pairs.passage_tokens=16", "corpus.most_pairs=false"])

    recipe: PairRecipe = splits()
    assert recipe.corpus.relation is PairRelation.COHERENCE
    pairs, _ = recipe.corpus.splits(recipe.pairs)
    assert sum(pair.belongs for part in (pairs.train, pairs.calibration, pairs.test) for pair in part) == 90 * 2

    texts = [f"{subject} {filler}" for subject in SUBJECTS for filler in FILLERS]
    questions = [
        {"context": text, "question": f"what of {text}", "answers": [{"text": text, "answer_start": 0}]}
        for text in texts
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in questions), encoding="utf-8")
    recipe = splits(relation="relevance", documents=[], questions=[str(path)])
    pairs, problems = recipe.corpus.splits(recipe.pairs)
    assert problems == ()
    assert {pair.first for pair in pairs.train if pair.belongs} <= {line["question"] for line in questions}
    assert sum(pair.belongs for part in (pairs.train, pairs.calibration, pairs.test) for pair in part) == len(texts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("corpus.documents=[]", "give no pair"),
        ("corpus.relation=likeness", "corpus.relation='likeness' is unknown"),
        ("corpus.most_pairs=1", r"\[corpus\] most_pairs=1 must be at least 2"),
        ("pairs.hard=-1", r"\[pairs\] hard=-1"),
        ("training.epoch=3", "did you mean training.epochs"),
        ("output.folder=3", "output.folder=3 must be a path"),
    ],
)
def test_what_does_not_fit_is_refused(change: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_pair_recipe(RECIPE, [change])
    with pytest.raises(RecipeError, match="pairs of relevance only"):
        load_pair_recipe(RECIPE, ["corpus.relation=coherence", 'corpus.questions=["q.json"]'])


def test_an_occupied_place_is_said_before_the_work(tmp_path: Path) -> None:
    recipe = load_pair_recipe(RECIPE, ['corpus.documents=["no such folder"]', f"output.folder={tmp_path}"])
    with pytest.raises(InputError, match="is there already"):
        train_pair_recipe(recipe)


def test_the_recipe_of_the_repository_reads_its_own_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe = load_pair_recipe(RECIPE)
    pairs, problems = recipe.corpus.splits(recipe.pairs)
    assert problems == ()
    assert 100 < len(pairs.train) <= 6400
