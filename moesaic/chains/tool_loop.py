"""What both ways of calling tools share: a Runnable around a stream of parts, and calls that run side by side.

`moesaic.chains.tool_calling` lets a model call functions, `moesaic.chains.token_activated` lets it ask in running text.
Here is what does not differ: how they are called, their context, the shield, and the toolbox.
"""

import asyncio
import time
import uuid
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field, PrivateAttr

from moesaic.chains.blocking_events import blocking_events
from moesaic.chains.model_errors import joined_errors
from moesaic.chains.question import checked_question
from moesaic.chains.tool_answer import ToolAnswer, ToolPart
from moesaic.chains.tool_loop_options import ToolLoopOptions
from moesaic.errors import InputError
from moesaic.tools.call_budget import CallBudget
from moesaic.tools.shield import Finding, Shield, Spotlight
from moesaic.tools.tool_call import ToolCall, ToolOutcome
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.toolbox import Toolbox

__all__ = ["Question", "ToolLoop", "ToolRun", "with_system"]

Question = str | Mapping[str, Any] | Sequence[BaseMessage]


@dataclass(kw_only=True)
class ToolRun:
    """One question on its way."""

    toolbox: Toolbox
    context: ToolContext
    options: ToolLoopOptions
    spotlight: Spotlight
    outcomes: list[ToolOutcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def cleaned(self, text: str) -> str:
        """Text of a person: nothing in it can act as a control token, a call or a delimiter."""
        cleaned = self.spotlight.shield.clean(text)
        self.findings.extend(cleaned.findings)
        return cleaned.text

    def told(self, outcome: ToolOutcome) -> str:
        """What the model reads of an outcome: foreign text marked as data, our own words cleaned."""
        content, most = outcome.content, self.options.result_characters
        if len(content) > most:
            content = f"{content[:most]}\n[cut here: the first {most} of {len(outcome.content)} characters]"
        if not outcome.foreign:
            return self.cleaned(content)
        marked = self.spotlight.marked(content, outcome.call.name)
        self.findings.extend(marked.findings)
        return marked.text

    async def called(self, calls: Sequence[ToolCall], step: int) -> AsyncGenerator[ToolPart, None]:
        """Make calls, some at once; gives each one's beginning, and its outcome when it is there."""
        room = asyncio.Semaphore(self.options.parallel_calls)

        async def make(call: ToolCall) -> ToolOutcome:
            async with room:
                return await self.toolbox.call(call, self.context)

        for call in calls:
            yield ToolPart(step=step, call=call)
        tasks = [asyncio.create_task(make(call)) for call in calls]
        try:
            for done in asyncio.as_completed(tasks):
                yield ToolPart(step=step, outcome=await done)
            self.outcomes.extend(task.result() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class ToolLoop(RunnableSerializable[Question, ToolAnswer | ToolPart]):
    """Answers a question, given as text, as a mapping with the key `question`, or as messages.

    `invoke` gives a `ToolAnswer`; `stream` gives `ToolPart`s, the last of which has the `ToolAnswer`. Tools that fail
    are told to the model and do not raise. What raises is a member of Moesaic's and LangChain's error trees:
        InputError: the question is blank or too long.
        DeadlineExceededError: the time was not enough.
        StorageError: the audit cannot be written.
        EngineOverloadedError, UnavailableError, …: what `InferenceClient` raises.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    toolbox: Toolbox = Field(exclude=True, repr=False)
    """The tools."""
    context: ToolContext = Field(default_factory=ToolContext, exclude=True)
    """On whose behalf calls are made; by default somebody unknown, for whom no programs are executed. Request, deadline
    and budget are made anew for each question."""
    options: ToolLoopOptions = ToolLoopOptions()
    """How far it may go."""
    shield: Shield = Field(default_factory=Shield, exclude=True, repr=False)
    """What foreign text passes; one that knows the model's own control tokens is better."""

    _loop: asyncio.AbstractEventLoop | None = PrivateAttr(default=None)

    def invoke(self, input: Question, config: RunnableConfig | None = None, **kwargs: Any) -> ToolAnswer:
        """Answer a question."""
        return cast("ToolAnswer", self._call_with_config(self._answer, input, config, run_type="chain"))

    async def ainvoke(self, input: Question, config: RunnableConfig | None = None, **kwargs: Any) -> ToolAnswer:
        """Answer a question."""
        return cast("ToolAnswer", await self._acall_with_config(self._aanswer, input, config, run_type="chain"))

    def stream(
        self, input: Question, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> Generator[ToolPart, None, None]:
        """Answer a question part by part."""
        yield from cast(
            "Iterator[ToolPart]",
            self._transform_stream_with_config(iter([input]), self._transform, config, run_type="chain"),
        )

    async def astream(
        self, input: Question, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncGenerator[ToolPart, None]:
        """Answer a question part by part."""

        async def given() -> AsyncIterator[Question]:
            yield input

        stream = self._atransform_stream_with_config(given(), self._atransform, config, run_type="chain")
        async with aclosing(cast("AsyncGenerator[ToolPart, None]", stream)) as parts:
            async for part in parts:
                yield part

    @abstractmethod
    def _steps(self, messages: list[BaseMessage], run: ToolRun, timeout_s: float) -> AsyncGenerator[ToolPart, None]:
        """Everything from the question to the answer."""

    @property
    @abstractmethod
    def _time_s(self) -> float:
        """Longest time of a question in seconds."""

    def _request_shield(self, context: ToolContext) -> Shield:
        """What the texts of one request pass."""
        return self.shield

    def _keep_loop(self) -> None:
        """Remember the running loop: a client that was given belongs to it."""
        with suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()

    def _answer(self, question: Question) -> ToolAnswer:
        return _last(list(self._blocking_parts(question)))

    async def _aanswer(self, question: Question) -> ToolAnswer:
        return _last([part async for part in self._parts(question)])

    def _transform(self, questions: Iterator[Question]) -> Iterator[ToolPart]:
        for question in questions:
            yield from self._blocking_parts(question)

    async def _atransform(self, questions: AsyncIterator[Question]) -> AsyncIterator[ToolPart]:
        async for question in questions:
            async with aclosing(self._parts(question)) as parts:
                async for part in parts:
                    yield part

    def _blocking_parts(self, question: Question) -> Iterator[ToolPart]:
        return blocking_events(lambda: self._parts(question), self._loop, type(self).__name__)

    async def _parts(self, given: Question) -> AsyncGenerator[ToolPart, None]:
        """The answer, part by part: what everything above comes to."""
        with joined_errors():
            context = replace(
                self.context,
                request_id=uuid.uuid4().hex,
                deadline=time.monotonic() + self._time_s,
                budget=CallBudget(self.options.max_calls),
            )
            run = ToolRun(
                toolbox=self.toolbox,
                context=context,
                options=self.options,
                spotlight=Spotlight(self._request_shield(context)),
            )
            messages = [_shielded(message, run) for message in _messages(given)]
            async with aclosing(self._steps(messages, run, self._time_s)) as parts:
                async for part in parts:
                    yield part


def with_system(messages: list[BaseMessage], *instructions: str) -> list[BaseMessage]:
    """The messages with instructions in the system message, ours first where there is none."""
    told = [text for text in instructions if text]
    if messages and isinstance(messages[0], SystemMessage):
        return [SystemMessage("\n\n".join([messages[0].text, *told])), *messages[1:]]
    return [SystemMessage("\n\n".join(told)), *messages] if told else list(messages)


def _messages(given: Question) -> list[BaseMessage]:
    if isinstance(given, Sequence) and not isinstance(given, str):
        if not given or not all(isinstance(message, BaseMessage) for message in given):
            raise InputError(f"{given!r:.80} is no conversation: give at least one message, or a question as text")
        return list(given)
    return [HumanMessage(checked_question(given))]


def _shielded(message: BaseMessage, run: ToolRun) -> BaseMessage:
    """A message of a person or of a tool whose text cannot act."""
    if isinstance(message, HumanMessage | ToolMessage) and isinstance(message.content, str):
        return message.model_copy(update={"content": run.cleaned(message.content)})
    return message


def _last(parts: list[ToolPart]) -> ToolAnswer:
    answer = parts[-1].answer
    assert answer is not None
    return answer
