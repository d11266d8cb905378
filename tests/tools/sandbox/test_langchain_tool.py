"""The sandbox as a LangChain tool passes LangChain's standard tests, and tells a model what it needs to know.

`SandboxIntegrationTests` of langchain-tests does not apply: it is for deepagents' backends, which run shell commands in
a file system that stays. Here there is no shell, no other program, and nothing that stays, on purpose.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from moesaic.tools.sandbox import PythonSandboxTool, Sandbox
from tests.tools.sandbox.processes import patient


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox(patient()) as opened:
        yield opened


class _Standard:
    @pytest.fixture(autouse=True)
    def _shared(self, shared: Sandbox) -> None:
        type(self).opened = shared  # type: ignore[attr-defined]

    @property
    def tool_constructor(self) -> type[BaseTool]:
        return PythonSandboxTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"sandbox": getattr(type(self), "opened", None) or Sandbox()}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"program": "def solution():\n    return 6 * 7"}


class TestPythonSandboxToolUnit(_Standard, ToolsUnitTests):
    """LangChain's unit tests."""


class TestPythonSandboxToolIntegration(_Standard, ToolsIntegrationTests):
    """LangChain's integration tests."""


def told(shared: Sandbox, program: str) -> tuple[str, dict[str, Any]]:
    call = {"name": "python", "args": {"program": program}, "id": "1", "type": "tool_call"}
    message = PythonSandboxTool(sandbox=shared).invoke(call)
    return message.content, message.artifact


def test_a_model_reads_the_value_and_what_was_printed(shared: Sandbox) -> None:
    content, artifact = told(shared, "print('步骤一')\nanswer = {'数': [1, 2]}")
    assert content == 'value: {"数": [1, 2]}\nprinted:\n步骤一'
    assert artifact["status"] == "ok"
    assert artifact["value"] == {"数": [1, 2]}
    assert artifact["usage"]["wall_s"] > 0


def test_a_model_reads_what_went_wrong_and_where(shared: Sandbox) -> None:
    content, artifact = told(shared, "x = 0\n1 / x")
    assert content.startswith("error: Traceback")
    assert "line 2" in content
    assert "ZeroDivisionError: division by zero" in content
    assert artifact["error"]["type"] == "ZeroDivisionError"


def test_a_model_reads_which_wall_it_met(shared: Sandbox) -> None:
    content, _ = told(shared, "import socket\nsocket.socket()")
    assert "network access is not allowed in the sandbox" in content


def test_long_output_is_cut_for_the_model_and_kept_in_the_artifact(shared: Sandbox) -> None:
    content, artifact = told(shared, "print('x' * 5000)")
    assert "more characters are left out" in content
    assert len(content) < 4500
    assert len(artifact["stdout"]) == 5001


async def test_it_can_be_awaited(shared: Sandbox) -> None:
    message = await PythonSandboxTool(sandbox=shared).ainvoke(
        {"name": "python", "args": {"program": "2 ** 10"}, "id": "1", "type": "tool_call"}
    )
    assert message.content == "value: 1024"


def test_other_arguments_are_refused(shared: Sandbox) -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        PythonSandboxTool(sandbox=shared).invoke({"program": "1", "shell": "ls"})
