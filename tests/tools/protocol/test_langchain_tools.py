"""Our tools pass LangChain's standard tests, and behave in its hands as in ours."""

from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from moesaic.tools import Toolbox, ToolContext
from moesaic.tools.langchain_tool import langchain_tools
from tests.tools.scripted_tools import EchoTool


def echo_tool(**options: Any) -> BaseTool:
    return langchain_tools(Toolbox([EchoTool(**options)]), ToolContext.here())[0]


class _Echo:
    @property
    def tool_constructor(self) -> BaseTool:
        return echo_tool()

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"text": "hello", "times": 2}


class TestEchoUnit(_Echo, ToolsUnitTests):
    pass


class TestEchoIntegration(_Echo, ToolsIntegrationTests):
    pass


def message(tool: BaseTool, arguments: dict[str, Any], id: str = "c1") -> ToolMessage:
    given = tool.invoke({"name": "echo", "args": arguments, "id": id, "type": "tool_call"})
    assert isinstance(given, ToolMessage)
    return given


def test_content_and_artifact() -> None:
    told = message(echo_tool(), {"text": "hi", "times": 2})
    assert (told.content, told.status, told.tool_call_id) == ("hi hi", "success", "c1")
    assert told.artifact["result"]["artifact"] == {"text": "hi hi"}


@pytest.mark.parametrize(
    ("arguments", "said"), [({"text": "a", "x": 1}, "no such argument"), ({"text": "a", "times": 7}, "7 is refused")]
)
def test_errors_are_messages(arguments: dict[str, Any], said: str) -> None:
    told = message(echo_tool(), arguments)
    assert told.status == "error"
    assert said in str(told.content)


async def test_a_synchronous_call_within_a_loop() -> None:
    assert echo_tool().invoke({"text": "hi"}) == "hi"
    assert await echo_tool().ainvoke("hi") == "hi"


def test_calls_are_made_once_by_their_id() -> None:
    tool = EchoTool()
    lent = langchain_tools(Toolbox([tool]), ToolContext.here())[0]
    assert message(lent, {"text": "a"}).content == message(lent, {"text": "a"}).content
    assert len(tool.calls) == 1
    message(lent, {"text": "a"}, id="c2")
    assert len(tool.calls) == 2


def test_the_schema_tells_ranges_and_allows_nothing_else() -> None:
    function = convert_to_openai_tool(echo_tool())["function"]
    assert (function["name"], function["description"]) == ("echo", "Repeat a text.")
    assert function["parameters"]["properties"]["times"]["maximum"] == 3


def test_only_what_is_allowed_is_lent() -> None:
    box = Toolbox([EchoTool(executes_programs=True)])
    assert langchain_tools(box, ToolContext()) == []
