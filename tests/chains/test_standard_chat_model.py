"""LangChain's standard tests for chat models, all of them, over a real server with a scripted engine."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.load.load import ALL_SERIALIZABLE_MAPPINGS
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from moesaic.chains import ChatMoesaic
from moesaic.server.engine import ScriptedEngine
from tests.chains.scripted_model import sensible
from tests.chains.served import served


class TestChatMoesaicUnit(ChatModelUnitTests):
    @pytest.fixture(autouse=True)
    def _listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count us among LangChain's partners, the only ones that the standard test of serialization loads.

        Others load by `allowed_objects=[ChatMoesaic]`, which test_chat_model.py does.
        """
        name = tuple(ChatMoesaic.lc_id())
        monkeypatch.setitem(ALL_SERIALIZABLE_MAPPINGS, name, name)
        monkeypatch.setattr(sys.modules["langchain_core.load.load"], "_default_class_paths_cache", {})

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatMoesaic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"target": "127.0.0.1:50051", "model": "tiny"}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {"MOESAIC_TARGET": "127.0.0.1:50052", "MOESAIC_TOKEN": "test"}
        return environment, {}, {"target": "127.0.0.1:50052", "token": "test"}


class TestChatMoesaicIntegration(ChatModelIntegrationTests):
    target: str

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _server(cls) -> Iterator[None]:
        with served(ScriptedEngine(sensible, context_length=32768)) as target:
            cls.target = target
            yield

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatMoesaic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"target": self.target}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        # One token is one byte here: 100 of them hold no tool call.
        return super().standard_chat_model_params | {"max_tokens": 2000}

    @property
    def model_override_value(self) -> str:
        return "tiny"

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True
