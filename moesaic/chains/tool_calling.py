"""`ToolCallingChain`: a model calls functions until it has an answer.

    chain = ToolCallingChain(
        model=ChatMoesaic(target="127.0.0.1:50051"), toolbox=Toolbox([Calculator()]), context=ToolContext.here()
    )
    chain.invoke("What is 17% of 2340?").text

    async for part in chain.astream("…"):
        part.text, part.call, part.outcome, part.answer

- Calls are kept in form where tokens are drawn: arguments that do not satisfy a tool's schema cannot be written.
- Calls of one turn run side by side. What goes wrong is told to the model as the call's result.
- Turns, calls, tokens and time are bounded; in the last turn the model has no tools, and so has to answer. A call that
  the longest turn cuts off is a result too: the model is told to make it shorter.
- Results are foreign text: they pass the shield, and are marked as data.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call

from moesaic.chains.chat_model import ChatMoesaic
from moesaic.chains.deadline import Deadline
from moesaic.chains.tool_answer import Ending, ToolAnswer, ToolPart
from moesaic.chains.tool_loop import ToolLoop, ToolRun, with_system
from moesaic.tools.tool import Language, Tool
from moesaic.tools.tool_call import CallStatus, ToolCall, ToolOutcome

__all__ = ["ToolCallingChain"]

_BEGIN, _END = "<tool_call>", "</tool_call>"
"""What stands around a call in the text of a served answer, where the call is not complete."""

_NAME = re.compile(r'"name": ?"([A-Za-z0-9_-]{1,64})"')

_CUT_OFF = "the call was cut off before its arguments were complete: make it shorter"


class ToolCallingChain(ToolLoop):
    """Answers with the help of functions; see `ToolLoop` for what goes in, comes out and is raised."""

    model: ChatMoesaic
    """Who calls; its `timeout_s` is the longest time of a question."""
    tool_choice: str = "auto"
    """What the model has to do first: `auto` leaves it to the model, `any` and a tool's name make it call, again if its
    call was cut off. Small models seldom call of themselves."""

    def model_post_init(self, context: Any, /) -> None:
        """Remember where the model's client lives."""
        super().model_post_init(context)
        if self.model.client is not None:
            self._keep_loop()

    @property
    def _time_s(self) -> float:
        return self.model.timeout_s

    async def _steps(
        self, messages: list[BaseMessage], run: ToolRun, timeout_s: float
    ) -> AsyncGenerator[ToolPart, None]:
        deadline = Deadline(timeout_s)
        tools = [_function(tool, self.options.language) for tool in self.toolbox.offered(run.context)]
        instruction = run.spotlight.instruction(self.options.language) if tools else ""
        messages = with_system(messages, self.options.system_prompt, instruction)
        input_tokens = output_tokens = 0
        choice = self.tool_choice
        for step in range(1, self.options.max_steps + 1):
            assert run.context.budget is not None
            lent = tools if step < self.options.max_steps and run.context.budget.left else []
            turn = _Turn(forced=bool(lent) and choice != "auto")
            async with aclosing(self._chunks(messages, lent, choice, deadline)) as chunks:
                async for chunk in chunks:
                    if shown := turn.shown(chunk):
                        yield ToolPart(step=step, text=shown)
            if rest := turn.rest():
                yield ToolPart(step=step, text=rest)
            told = turn.told
            if told.usage_metadata is not None:
                input_tokens += told.usage_metadata["input_tokens"]
                output_tokens += told.usage_metadata["output_tokens"]
            calls, broken = _calls(told)
            if turn.cut_off:
                broken.append(_cut_off(turn.cut_off, step))
            if not calls and not broken:
                break
            choice = "auto" if calls else choice
            async with aclosing(run.called(calls, step)) as parts:
                async for part in parts:
                    yield part
            for outcome in broken:
                run.outcomes.append(outcome)
                yield ToolPart(step=step, call=outcome.call)
                yield ToolPart(step=step, outcome=outcome)
            messages = [*messages, *_exchange(told.text.removesuffix(turn.cut_off), calls, broken, run)]
        yield ToolPart(
            step=step,
            answer=ToolAnswer(
                text=told.text,
                ending=_ending(told),
                steps=step,
                outcomes=tuple(run.outcomes),
                findings=tuple(run.findings),
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                model=str(told.response_metadata.get("model_name", "")),
                weight_version=str(told.response_metadata.get("weight_version", "")),
            ),
        )

    async def _chunks(
        self, messages: list[BaseMessage], tools: list[dict[str, Any]], choice: str, deadline: Deadline
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """One turn of the model, as it comes."""
        options: dict[str, Any] = {"timeout_s": deadline.remaining_s(), "max_tokens": self.options.max_tokens}
        if tools:
            options |= {"tools": tools, "tool_choice": choice}
        stream: Any = self.model.astream(messages, **options)
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                yield chunk


class _Turn:
    """What one turn says. A call that the longest turn cuts off comes as text, which nobody wants to read.

    Args:
        forced: whether the turn has to be a call.
    """

    def __init__(self, *, forced: bool) -> None:
        self.told = AIMessageChunk(content="")
        self._forced = forced
        self._held = ""

    def shown(self, chunk: AIMessageChunk) -> str:
        """What of a chunk is text for certain."""
        self.told = _joined(self.told, chunk)
        place = 0 if self._held or self._forced else chunk.text.find(_BEGIN)
        if place < 0:
            return chunk.text
        self._held += chunk.text[place:]
        return chunk.text[:place]

    @property
    def cut_off(self) -> str:
        """At the end: the beginning of a call that has no end."""
        whole = self.told.response_metadata.get("finish_reason") != "length" or _END in self._held
        return "" if whole else self._held

    def rest(self) -> str:
        """At the end: what turned out to be text."""
        return "" if self.cut_off else self._held


def _function(tool: Tool[Any], language: Language) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.described(language), "parameters": tool.schema}
    return {"type": "function", "function": function}


def _joined(told: AIMessageChunk, chunk: AIMessageChunk) -> AIMessageChunk:
    joined = told + chunk
    assert isinstance(joined, AIMessageChunk)
    return joined


def _calls(told: AIMessageChunk) -> tuple[list[ToolCall], list[ToolOutcome]]:
    """The calls that can be made, and those that ended before their arguments did."""
    sound = [ToolCall(name=call["name"], arguments=call["args"], id=call["id"] or "") for call in told.tool_calls]
    broken = [
        ToolOutcome(
            call=ToolCall(name=call["name"] or "unknown", id=call["id"] or ""),
            status=CallStatus.INVALID,
            content=_CUT_OFF,
            error="ToolArgumentError",
            foreign=False,
        )
        for call in told.invalid_tool_calls
    ]
    return sound, broken


def _cut_off(text: str, step: int) -> ToolOutcome:
    """A call that the longest turn left without its end: the model is told, and may try again."""
    name = _NAME.search(text)
    call = ToolCall(name=name[1] if name else "unknown", id=f"cut_off_{step}")
    return ToolOutcome(call=call, status=CallStatus.INVALID, content=_CUT_OFF, error="ToolArgumentError", foreign=False)


def _exchange(text: str, calls: list[ToolCall], broken: list[ToolOutcome], run: ToolRun) -> list[BaseMessage]:
    """The turn and its results, as the model will read them."""
    outcomes = [*run.outcomes[len(run.outcomes) - len(calls) - len(broken) :]]
    wanted = [tool_call(name=o.call.name, args=dict(o.call.arguments), id=o.call.id) for o in outcomes]
    results = [
        ToolMessage(run.told(outcome), tool_call_id=outcome.call.id, status="success" if outcome.ok else "error")
        for outcome in outcomes
    ]
    return [AIMessage(content=text, tool_calls=wanted), *results]


def _ending(told: AIMessageChunk) -> Ending:
    if told.tool_calls or told.invalid_tool_calls:
        return Ending.STEPS
    return Ending.LENGTH if told.response_metadata.get("finish_reason") == "length" else Ending.ANSWERED
