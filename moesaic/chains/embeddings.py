"""`MoesaicEmbeddings`: the encoder of a server as LangChain embeddings.

Documents and questions are embedded for their purpose (encoders tell them apart); vectors have length 1. Texts go in
batches as large as the server takes.
"""

from collections.abc import Iterator

from langchain_core.embeddings import Embeddings
from pydantic import PrivateAttr

from moesaic import v1
from moesaic.chains.model_errors import joined_errors
from moesaic.chains.served import Served

__all__ = ["MoesaicEmbeddings"]

_DOCUMENT = v1.EmbedPurpose.EMBED_PURPOSE_DOCUMENT
_QUERY = v1.EmbedPurpose.EMBED_PURPOSE_QUERY


class MoesaicEmbeddings(Served, Embeddings):
    """Vectors from a served encoder; `model` is the encoder's name. Errors are those of `ChatMoesaic`."""

    _max_batch: int | None = PrivateAttr(default=None)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text to be found, in order."""
        vectors: list[list[float]] = []
        with joined_errors():
            client = self._synchronous
            if texts and self._max_batch is None:
                info = client.get_server_info(v1.GetServerInfoRequest(), timeout_s=self.timeout_s)
                self._max_batch = info.limits.max_batch
            for batch in self._batches(texts):
                vectors += _vectors(client.embed(self._request(batch, _DOCUMENT), timeout_s=self.timeout_s))
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a text to find something with."""
        with joined_errors():
            request = self._request([text], _QUERY)
            return _vectors(self._synchronous.embed(request, timeout_s=self.timeout_s))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text to be found, in order."""
        vectors: list[list[float]] = []
        with joined_errors():
            client = self._asynchronous
            if texts and self._max_batch is None:
                info = await client.get_server_info(v1.GetServerInfoRequest(), timeout_s=self.timeout_s)
                self._max_batch = info.limits.max_batch
            for batch in self._batches(texts):
                vectors += _vectors(await client.embed(self._request(batch, _DOCUMENT), timeout_s=self.timeout_s))
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """The vector of a text to find something with."""
        with joined_errors():
            request = self._request([text], _QUERY)
            return _vectors(await self._asynchronous.embed(request, timeout_s=self.timeout_s))[0]

    def _batches(self, texts: list[str]) -> Iterator[list[str]]:
        size = self._max_batch or len(texts) or 1  # 0: a server that names no limit
        return (texts[begin : begin + size] for begin in range(0, len(texts), size))

    def _request(self, texts: list[str], purpose: v1.EmbedPurpose) -> v1.EmbedRequest:
        return v1.EmbedRequest(model=self.model, texts=texts, purpose=purpose)


def _vectors(response: v1.EmbedResponse) -> list[list[float]]:
    return [list(embedding.values) for embedding in response.embeddings]
