"""LangChain's standard tests for embeddings, all of them, over a real server with a scripted encoder."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from moesaic.chains import MoesaicEmbeddings
from moesaic.retrieval import ScriptedEmbedder
from moesaic.server.engine import ScriptedEngine
from tests.chains.served import served


class TestMoesaicEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return MoesaicEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"target": "127.0.0.1:50051", "model": "scripted"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {"MOESAIC_TARGET": "127.0.0.1:50052", "MOESAIC_TOKEN": "test"}
        return environment, {}, {"target": "127.0.0.1:50052", "token": "test"}


class TestMoesaicEmbeddingsIntegration(EmbeddingsIntegrationTests):
    target: str

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _server(cls) -> Iterator[None]:
        with served(ScriptedEngine(), embedder=ScriptedEmbedder()) as target:
            cls.target = target
            yield

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return MoesaicEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"target": self.target}
