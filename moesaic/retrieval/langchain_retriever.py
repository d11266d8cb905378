"""A knowledge base as a LangChain retriever: the only file of this package that imports langchain_core.

from moesaic.retrieval import KnowledgeBase
from moesaic.retrieval.langchain_retriever import MoesaicRetriever

MoesaicRetriever(base=KnowledgeBase.open("kb/guide"), k=5).invoke("how do I install it?")
"""

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from moesaic.retrieval.knowledge_base import KnowledgeBase
from moesaic.retrieval.passage import Passage
from moesaic.retrieval.search import MAX_K, SearchMode

__all__ = ["MoesaicRetriever"]


class MoesaicRetriever(BaseRetriever):
    """Passages of a knowledge base as LangChain documents.

    `page_content` is the passage's text; `metadata` has document_id, title, heading_path, start, end, score, the ranks
    in both indexes, vector_similarity and lexical_score, as `Passage` describes them. `k` and `mode` may also be given
    to `invoke`, for one call.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    base: KnowledgeBase
    """Where to search; whoever opened it closes it."""
    k: int = Field(default=8, ge=1, le=MAX_K)
    """How many passages."""
    mode: SearchMode = SearchMode.HYBRID
    """Which indexes are asked."""

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        mode: SearchMode | str | None = None,
    ) -> list[Document]:
        return [_document(found) for found in self.base.search(query, **self._arguments(k, mode))]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        mode: SearchMode | str | None = None,
    ) -> list[Document]:
        return [_document(found) for found in await self.base.asearch(query, **self._arguments(k, mode))]

    def _arguments(self, k: int | None, mode: SearchMode | str | None) -> dict[str, Any]:
        return {"k": self.k if k is None else k, "mode": self.mode if mode is None else mode}


def _document(passage: Passage) -> Document:
    metadata = passage.to_json()
    text = metadata.pop("text")
    return Document(id=f"{passage.document_id}#{passage.start}-{passage.end}", page_content=text, metadata=metadata)
