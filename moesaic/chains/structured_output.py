"""`with_structured_output`: answers that are values of a schema, by one of three methods.

json_schema       the answer is JSON that satisfies the schema, drawn under a constraint (the default)
function_calling  the model calls a tool whose arguments are the value
json_mode         the answer is any JSON object; the prompt has to say which
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from moesaic.errors import InputError

__all__ = ["METHODS", "Method", "structured_output"]

Method: TypeAlias = Literal["json_schema", "function_calling", "json_mode"]
METHODS: tuple[Method, ...] = ("json_schema", "function_calling", "json_mode")

Schema: TypeAlias = dict[str, Any] | type

_WHOLE = frozenset({"stop", "tool_calls"})


def structured_output(
    model: BaseChatModel, schema: Schema, *, method: Method, include_raw: bool, options: Mapping[str, Any]
) -> Runnable[LanguageModelInput, Any]:
    """The model, followed by what reads a value of `schema` from its answer; see `ChatMoesaic.with_structured_output`.

    Args:
        model: who answers.
        schema: a Pydantic class, a TypedDict, a JSON Schema or an OpenAI function.
        method: how the answer gets its form.
        include_raw: give the message and what went wrong beside the value.
        options: further options of every call.
    """
    if method not in METHODS:
        raise InputError(f"method={method!r} is unknown: choose one of {', '.join(METHODS)}")
    # A value ends by itself; a stop text of the model would cut it in two.
    options = {"stop": []} | dict(options)
    traced = {"kwargs": {"method": method}, "schema": schema}
    if method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        bound = model.bind_tools([schema], tool_choice=name, ls_structured_output_format=traced, **options)
    else:
        form = {"type": "json_object"} if method == "json_mode" else _json_format(schema)
        bound = model.bind(response_format=form, ls_structured_output_format=traced, **options)
    parser = RunnableGenerator(_whole, _awhole) | _parser(schema, method)
    if not include_raw:
        return bound | parser
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def _json_format(schema: Schema) -> dict[str, Any]:
    # Core's conversion resolves references, which a recursive class does not survive, and asks dicts for a title.
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        found = schema.model_json_schema()
    elif isinstance(schema, dict) and not {"title", "name", "function"} & set(schema):
        found = schema
    else:
        found = convert_to_json_schema(schema)
    return {"type": "json_schema", "json_schema": {"name": str(found.get("title", "answer")), "schema": found}}


def _whole(messages: Iterator[AIMessage]) -> Iterator[AIMessage]:
    for message in messages:
        _check_whole(message)
        yield message


async def _awhole(messages: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
    async for message in messages:
        _check_whole(message)
        yield message


def _check_whole(message: AIMessage) -> None:
    """Raise `OutputParserException` for an answer, or the last part of one, that did not end by itself."""
    reason = message.response_metadata.get("finish_reason", "stop")
    if reason not in _WHOLE:
        raise OutputParserException(
            f"the answer was cut off (finish_reason={reason!r}), so it is no value; allow more tokens (max_tokens)",
            llm_output=message.text,
        )


def _parser(schema: Schema, method: Method) -> Runnable[Any, Any]:
    # Pydantic's classes of version 1 too, which type checkers do not count among its models.
    model_class: Any = schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None
    if method == "function_calling":
        if model_class is not None:
            return PydanticToolsParser(tools=[model_class], first_tool_only=True)
        name = convert_to_openai_tool(schema)["function"]["name"]
        return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    return JsonOutputParser() if model_class is None else PydanticOutputParser(pydantic_object=model_class)
