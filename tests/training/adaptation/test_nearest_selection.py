"""What is nearest to a task is chosen once, and stays together."""

from typing import Any

import numpy as np
import pytest

from moesaic.errors import CorpusError, RecipeError
from moesaic.retrieval import ScriptedEmbedder, sentences
from moesaic.training.adaptation.nearest_selection import NearestOptions, nearest_sentences

EMBEDDER = ScriptedEmbedder(128)
TASK = ["The valve of the pump leaks under pressure.", "水泵的阀门在压力下漏水。"]
FIELD = [
    "Cats sleep all day long. Dogs bark at the moon at night. The pump leaks when its valve is worn under pressure. "
    "Replace the valve of the pump when it leaks. Parrots can live for sixty years.",
    "水泵的阀门在压力过高时会漏水。今天天气非常好适合出去散步。",
    "The valve of the pump leaks under pressure.",
]


def test_the_nearest_are_chosen_and_neighbours_stay_together() -> None:
    found = nearest_sentences(TASK, FIELD, EMBEDDER, NearestOptions(neighbours=2, least_similarity=0.3))
    assert found.texts == (
        "The pump leaks when its valve is worn under pressure. Replace the valve of the pump when it leaks.",
        "水泵的阀门在压力过高时会漏水。",
    )
    assert (found.chosen, found.task_sentences) == (3, 2)
    assert found.mean_similarity > found.field_similarity + 0.2


def test_against_brute_force() -> None:
    random = np.random.default_rng(5)
    words = [f"word{number}" for number in range(60)]
    field = [" ".join(" ".join(random.choice(words, 8)).capitalize() + "." for _ in range(10)) for _ in range(30)]
    task = [" ".join(random.choice(words, 8)).capitalize() + "." for _ in range(4)]
    found = nearest_sentences(task, field, EMBEDDER, NearestOptions(neighbours=5))
    pieces = [(text[start:end], number) for number, text in enumerate(field) for start, end in sentences(text)]
    vectors = EMBEDDER.embed_documents([text for text, _ in pieces])
    cosines = EMBEDDER.embed_documents(task) @ vectors.T
    best = {pieces[place][0] for row in cosines for place in np.argsort(-row)[:5]}
    chosen = {text[start:end] for text in found.texts for start, end in sentences(text)}
    assert chosen == best
    assert found.chosen == len(best)
    assert found.field_similarity == pytest.approx(float(cosines.mean()), abs=1e-5)


def test_repeated_and_known_sentences_count_once() -> None:
    field = ["The pump  leaks when its\nvalve is worn."] * 3 + TASK
    found = nearest_sentences(TASK, field, EMBEDDER, NearestOptions(neighbours=50))
    assert found.texts == ("The pump  leaks when its\nvalve is worn.",)
    assert found.field_sentences == 1


@pytest.mark.parametrize(
    ("task", "field", "options", "fault"),
    [
        ([], FIELD, {}, "the task has no sentence"),
        (["Short."], FIELD, {}, "the task has no sentence of 15 bytes"),
        (TASK, TASK, {}, "the field has no sentence"),
        (TASK, ["Cats sleep all day long."], {"least_similarity": 0.9}, "reaches least_similarity=0.9"),
    ],
)
def test_nothing_to_choose_is_refused(task: list[str], field: list[str], options: dict[str, Any], fault: str) -> None:
    with pytest.raises(CorpusError, match=fault):
        nearest_sentences(task, field, EMBEDDER, NearestOptions(**options))


@pytest.mark.parametrize("options", [{"neighbours": 0}, {"least_similarity": 1.1}, {"least_bytes": 0}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(options))):
        NearestOptions(**options)
