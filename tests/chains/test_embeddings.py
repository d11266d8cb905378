"""`MoesaicEmbeddings` beyond the standard tests: purposes, batches, errors, and in process."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core import exceptions
from langchain_core.vectorstores import InMemoryVectorStore

from moesaic import errors, v1
from moesaic.chains import MoesaicEmbeddings
from moesaic.retrieval import ScriptedEmbedder
from moesaic.server.engine import ScriptedEngine
from tests.chains.served import served

QUERY = v1.EmbedPurpose.EMBED_PURPOSE_QUERY
DOCUMENT = v1.EmbedPurpose.EMBED_PURPOSE_DOCUMENT
TEXTS = ["Leaves are green.", "叶子是绿的。", "The sky is blue."]


class Listening:
    """An `InferenceClient` for embeddings that keeps what it is asked; a text's vector is its length."""

    def __init__(self, max_batch: int) -> None:
        self.max_batch = max_batch
        self.asked: list[v1.EmbedRequest] = []
        self.infos = 0

    async def get_server_info(
        self, request: v1.GetServerInfoRequest, *, timeout_s: float | None = None
    ) -> v1.GetServerInfoResponse:
        self.infos += 1
        return v1.GetServerInfoResponse(limits=v1.Limits(max_batch=self.max_batch))

    async def embed(self, request: v1.EmbedRequest, *, timeout_s: float | None = None) -> v1.EmbedResponse:
        self.asked.append(request)
        return v1.EmbedResponse(embeddings=[v1.Embedding(values=[len(text)]) for text in request.texts])


@pytest.fixture
def target() -> Iterator[str]:
    with served(ScriptedEngine(), embedder=ScriptedEmbedder()) as found:
        yield found


@pytest.mark.parametrize(("max_batch", "sizes"), [(2, [2, 2, 1]), (5, [5]), (100, [5]), (0, [5])])
@pytest.mark.parametrize("way", ["await", "wait"])
async def test_texts_go_in_batches(way: str, max_batch: int, sizes: list[int]) -> None:
    client = Listening(max_batch)
    embeddings = MoesaicEmbeddings(client=client, model="e")
    texts = ["", "a", "bb", "ccc", "dddd"]
    for _ in range(2):
        if way == "await":
            vectors = await embeddings.aembed_documents(texts)
        else:
            vectors = await asyncio.to_thread(embeddings.embed_documents, texts)
        assert vectors == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    assert [len(request.texts) for request in client.asked] == sizes * 2
    assert {(request.model, request.purpose) for request in client.asked} == {("e", DOCUMENT)}
    assert client.infos == 1


async def test_no_texts_ask_nothing() -> None:
    client = Listening(2)
    embeddings = MoesaicEmbeddings(client=client)
    assert await embeddings.aembed_documents([]) == []
    assert await asyncio.to_thread(embeddings.embed_documents, []) == []
    assert (client.asked, client.infos) == ([], 0)


async def test_questions_have_their_own_purpose() -> None:
    client = Listening(2)
    embeddings = MoesaicEmbeddings(client=client)
    assert await embeddings.aembed_query("why") == [3.0]
    assert await asyncio.to_thread(embeddings.embed_query, "why") == [3.0]
    assert [request.purpose for request in client.asked] == [QUERY, QUERY]


async def test_both_ways_give_the_same_vectors(target: str) -> None:
    embeddings = MoesaicEmbeddings(target=target)
    documents = await asyncio.to_thread(embeddings.embed_documents, TEXTS * 40)
    assert documents == await embeddings.aembed_documents(TEXTS * 40)
    assert documents[:3] == documents[-3:]
    assert sum(value * value for value in documents[1]) == pytest.approx(1.0, abs=1e-5)
    query = await asyncio.to_thread(embeddings.embed_query, TEXTS[0])
    assert query == await embeddings.aembed_query(TEXTS[0])


def test_a_store_finds_with_them(target: str) -> None:
    store = InMemoryVectorStore.from_texts(TEXTS, MoesaicEmbeddings(target=target))
    assert [found.page_content for found in store.similarity_search("blue sky", k=1)] == [TEXTS[2]]


async def test_failures_are_members_of_both_trees(target: str) -> None:
    embeddings = MoesaicEmbeddings(target=target, model="other", max_retries=0)
    for kind in (errors.NotFoundError, exceptions.ModelNotFoundError):
        with pytest.raises(kind):
            await embeddings.aembed_query("x")
        with pytest.raises(kind):
            await asyncio.to_thread(embeddings.embed_documents, ["x"])
    with pytest.raises(exceptions.ModelConnectionError):
        await MoesaicEmbeddings(target="127.0.0.1:1", max_retries=0).aembed_query("x")


def test_a_server_without_an_encoder() -> None:
    with served(ScriptedEngine()) as target, pytest.raises(errors.UnsupportedFeatureError):
        MoesaicEmbeddings(target=target).embed_query("x")


def test_what_is_unknown_is_refused() -> None:
    options: dict[str, Any] = {"target": "127.0.0.1:1", "dimension": 3}
    with pytest.raises(ValueError, match="dimension"):
        MoesaicEmbeddings(**options)
