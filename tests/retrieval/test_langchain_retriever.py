"""The retriever passes LangChain's own suite, and says of each document what a citation needs."""

from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError

from moesaic.errors import InputError
from moesaic.retrieval import KnowledgeBase, ScriptedEmbedder, SearchMode
from moesaic.retrieval.langchain_retriever import MoesaicRetriever
from tests.retrieval.documents import PETS


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    made = KnowledgeBase.create(tmp_path_factory.mktemp("bases") / "pets", embedder=ScriptedEmbedder(256))
    made.add(PETS)
    return made


class TestStandard(RetrieversIntegrationTests):
    """LangChain's standard suite."""

    @pytest.fixture(autouse=True)
    def _base(self, base: KnowledgeBase) -> None:
        self.base = base

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return MoesaicRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"base": self.base}

    @property
    def retriever_query_example(self) -> str:
        return "what do cats eat"


def test_metadata_is_that_of_the_passage(base: KnowledgeBase) -> None:
    passage = base.search("they eat bones")[0]
    document = MoesaicRetriever(base=base).invoke("they eat bones")[0]
    assert document.page_content == passage.text
    assert document.id == f"dogs.md#{passage.start}-{passage.end}"
    assert document.metadata == {name: value for name, value in passage.to_json().items() if name != "text"}
    span = base.text(document.metadata["document_id"], document.metadata["start"], document.metadata["end"])
    assert span == document.page_content


async def test_arguments_of_one_call_come_first(base: KnowledgeBase) -> None:
    retriever = MoesaicRetriever(base=base, k=2, mode=SearchMode.LEXICAL)
    assert [document.metadata["document_id"] for document in retriever.invoke("fish")] == ["cats.md"]
    found = await retriever.ainvoke("fish", k=3, mode="vector")
    assert len(found) == 3
    assert [document.metadata["lexical_rank"] for document in found] == [None, None, None]


def test_values_out_of_range_are_refused(base: KnowledgeBase) -> None:
    with pytest.raises(ValidationError):
        MoesaicRetriever(base=base, k=0)
    with pytest.raises(InputError, match="k=0 must be 1 to 1000"):
        MoesaicRetriever(base=base).invoke("fish", k=0)
