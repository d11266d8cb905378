"""`ChatMoesaic`: a served model as a LangChain chat model.

    model = ChatMoesaic(target="127.0.0.1:8080", temperature=0)
    model.invoke("Why are leaves green?")

- All four ways to call are native: cancelling `ainvoke` or leaving `astream` stops the computation on the server.
- Tools and structured output are constrained where tokens are drawn: arguments and answers satisfy their schemas.
- Token counts come from the model's own tokenizer, through the server.
- What goes wrong is an error of Moesaic and of LangChain at once (`moesaic.chains.model_errors`).
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import AliasChoices, ConfigDict, Field

from moesaic import v1
from moesaic.chains.chat_messages import answer_message, delta_chunk, final_chunk, wire_messages
from moesaic.chains.chat_request import SAMPLING_FIELDS, chat_request, openai_tool, wire_tools
from moesaic.chains.model_errors import joined_errors
from moesaic.chains.served import Served
from moesaic.chains.structured_output import Method, structured_output

__all__ = ["ChatMoesaic"]

Tools = Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool]


class ChatMoesaic(Served, BaseChatModel):
    """A served model that answers conversations.

    Every option may also be given with a call, or bound to it: `model.invoke(…, temperature=0, stop=["."])`. An option
    that is None takes the server's default. `moesaic.chains.chat_request` lists the options that only calls have.

    Raises, from every call, members of both error trees; for example `ModelInvalidRequestError` and `RequestError` for
    a value outside its range, `ModelTimeoutError` and `DeadlineExceededError` after `timeout_s`.
    """

    # Of two bases the second one decides, and that of LangChain drops what it does not know.
    model_config = ConfigDict(extra="forbid")

    temperature: float | None = None
    """0 takes the most likely token, 1 draws from the model's own distribution."""
    max_tokens: int | None = None
    """Most tokens of an answer."""
    top_p: float | None = None
    """Draws from the smallest set of tokens with at least this probability in sum."""
    top_k: int | None = None
    """Draws from this many most likely tokens; 0 draws from all."""
    min_p: float | None = None
    """Leaves out tokens less likely than this share of the most likely one."""
    repetition_penalty: float | None = None
    """Divides positive and multiplies negative logits of tokens seen before; 1 is none."""
    presence_penalty: float | None = None
    """Subtracted from the logits of tokens in the answer so far."""
    frequency_penalty: float | None = None
    """Subtracted from the logits of tokens in the answer so far, once for each time."""
    seed: int | None = None
    """Makes drawing reproducible."""
    stop: list[str] | None = Field(default=None, validation_alias=AliasChoices("stop", "stop_sequences"))
    """Texts that end an answer. Also called `stop_sequences`."""
    logprobs: int | None = None
    """0 gives the log-probability of each token, k also those of the k most likely ones, in `response_metadata`."""
    streaming: bool = False
    """Whether `invoke` streams, so that callbacks see tokens."""

    @property
    def _llm_type(self) -> str:
        return "moesaic-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"target": self.target, "model": self.model} | self._defaults()

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Where secrets come from when a stored model is loaded."""
        return {"token": "MOESAIC_TOKEN"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether the model can be stored: all but its client and its token."""
        return True

    def bind_tools(
        self, tools: Tools, *, tool_choice: str | dict[str, Any] | bool | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call tools; their arguments always satisfy their schemas.

        Args:
            tools: functions, Pydantic classes, LangChain tools or OpenAI functions. None of them: nothing changes.
            tool_choice: `auto` (the default), `none`, `any` or `required` (one of them), or the name of a tool.
            kwargs: further options of every call.
        """
        if tools:
            kwargs["tools"] = [openai_tool(tool) for tool in tools]
            if tool_choice is not None:
                kwargs["tool_choice"] = tool_choice
        return self.bind(**kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Method = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answer with values of a schema.

        Args:
            schema: a Pydantic class (gives its instances); a TypedDict, JSON Schema or OpenAI function (give dicts).
            include_raw: give `{"raw": message, "parsed": value, "parsing_error": error}` instead of the value.
            method: `json_schema` constrains the answer, `function_calling` forces a tool call, `json_mode` asks for any
                JSON object and leaves its keys to the prompt.
            strict: taken and without effect: the constrained methods always keep the schema.
            kwargs: further options of every call.
        """
        del strict
        return structured_output(self, schema, method=method, include_raw=include_raw, options=kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """The tokens of a text, as the model's tokenizer gives them."""
        request = v1.TokenizeRequest(model=self.model, text=text, add_special_tokens=False)
        with joined_errors():
            return list(self._synchronous.tokenize(request, timeout_s=self.timeout_s).token_ids)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Number of tokens of a conversation, with all that the chat template adds."""
        with joined_errors():
            conversation = v1.Conversation(messages=wire_messages(messages), tools=wire_tools(tools or ()))
            request = v1.TokenizeRequest(model=self.model, conversation=conversation)
            return len(self._synchronous.tokenize(request, timeout_s=self.timeout_s).token_ids)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with joined_errors():
            request, timeout_s = self._request(messages, stop, kwargs)
            return _result(self._synchronous.chat(request, timeout_s=timeout_s))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with joined_errors():
            request, timeout_s = self._request(messages, stop, kwargs)
            return _result(await self._asynchronous.chat(request, timeout_s=timeout_s))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with joined_errors():
            request, timeout_s = self._request(messages, stop, kwargs)
            stream = v1.ChatStreamRequest(request=request)
            with closing(self._synchronous.chat_stream(stream, timeout_s=timeout_s)) as events:
                started = v1.Started()
                for event in events:
                    started = event.started if event.HasField("started") else started
                    if (chunk := _chunk(event, started)) is not None:
                        if run_manager is not None:
                            run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with joined_errors():
            request, timeout_s = self._request(messages, stop, kwargs)
            stream = v1.ChatStreamRequest(request=request)
            async with aclosing(self._asynchronous.chat_stream(stream, timeout_s=timeout_s)) as events:
                started = v1.Started()
                async for event in events:
                    started = event.started if event.HasField("started") else started
                    if (chunk := _chunk(event, started)) is not None:
                        if run_manager is not None:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> tuple[v1.ChatRequest, float]:
        """The request, and its deadline in seconds; what a call gives takes the place of the model's own options."""
        given = dict(options)
        timeout_s = given.pop("timeout_s", None) or given.pop("timeout", None) or self.timeout_s
        stop = self.stop if stop is None else stop
        return chat_request(messages, {"model": self.model, "stop": stop} | self._defaults() | given), timeout_s

    def _defaults(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in SAMPLING_FIELDS}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "moesaic"
        params["ls_model_name"] = params.get("ls_model_name") or "served"
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        """What holds for every served model.

        `structured_output` is left out: agents would then ask for tools and a form at once, which exclude each other;
        without it they take a tool for the form, which is constrained as well.
        """
        return ModelProfile(
            text_inputs=True,
            text_outputs=True,
            image_inputs=False,
            audio_inputs=False,
            video_inputs=False,
            pdf_inputs=False,
            tool_calling=True,
            tool_choice=True,
            tool_call_streaming=True,
            temperature=True,
            open_weights=True,
        )


def _result(response: v1.ChatResponse) -> ChatResult:
    generations = [ChatGeneration(message=answer_message(response, choice)) for choice in response.choices]
    return ChatResult(generations=generations, llm_output={"model_name": response.model})


def _chunk(event: v1.ChatStreamResponse, started: v1.Started) -> ChatGenerationChunk | None:
    """What an event adds to the answer, if anything."""
    message: AIMessageChunk | None = None
    if event.HasField("delta"):
        message = delta_chunk(event.delta)
    elif event.HasField("finished"):
        message = final_chunk(started, event.finished)
    return None if message is None else ChatGenerationChunk(message=message)
