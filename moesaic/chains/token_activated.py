"""`TokenActivatedChain`: a model asks tools in the middle of its text, and goes on with what they say.

    chain = TokenActivatedChain(toolbox=Toolbox([Calculator()]), target="127.0.0.1:50051", context=ToolContext.here())
    chain.invoke("How much is 17% of 2340?")

    The model writes   17% of 2340 is [[calculator: 17% of 2340
    it is stopped, the tool is asked, and the model goes on from
                       17% of 2340 is [[calculator: 17% of 2340]] => 397.8
    The reader sees    17% of 2340 is 397.8.

Sources: LaMDA (Thoppilan et al., 2022, section 6.2), where special tokens open a query and the answer comes back into
the dialogue; Toolformer (Schick et al., 2023), where calls stand in running text. How this differs:
1. The markers are text, so that any model can be told of them by its prompt; `CallMarkers` takes a tuned model's own.
2. Only what the model itself writes can open a call: its text is read apart from everything it was given, and markers
   in questions and results are broken by the shield, so that copying them opens nothing.
3. Results of tools that hold foreign text are marked as data.
4. Turns, calls, tokens and time are bounded.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage

from moesaic import v1
from moesaic.chains.call_markers import CallMarkers
from moesaic.chains.chat_messages import wire_messages
from moesaic.chains.deadline import Deadline
from moesaic.chains.served import Served
from moesaic.chains.tool_answer import Ending, ToolAnswer, ToolPart
from moesaic.chains.tool_loop import ToolLoop, ToolRun, with_system
from moesaic.tools.shield import Shield
from moesaic.tools.tool import Tool
from moesaic.tools.tool_call import ToolCall
from moesaic.tools.tool_context import ToolContext

__all__ = ["TokenActivatedChain"]


@dataclass(kw_only=True)
class _Draft:
    """The answer as far as it is written."""

    prompt: list[int]
    """What comes before it, as tokens."""
    deadline: Deadline
    spoken: str = ""
    """What the model has written and been told, as it reads it again."""
    shown: str = ""
    """What the reader sees of it."""
    text: str = ""
    """What the model wrote last, up to its end or to a stop."""
    token_ids: list[int] = field(default_factory=list)
    started: v1.Started = field(default_factory=v1.Started)
    finished: v1.Finished = field(default_factory=v1.Finished)
    input_tokens: int = 0
    output_tokens: int = 0


class TokenActivatedChain(Served, ToolLoop):
    """Answers with queries in the running text; see `ToolLoop` for what goes in, comes out and is raised.

    A tool can be asked this way if it names the argument that takes the query (`Tool.text_argument`).
    """

    markers: CallMarkers = CallMarkers()
    """What opens and closes a query."""
    chat: bool = True
    """Whether the model answers a conversation. False: it goes on from the text of all messages; for models without a
    chat template, to which `system_prompt` may show worked examples."""
    temperature: float | None = 0.0
    """0 takes the most likely token; None: the server's default."""
    seed: int | None = None
    """Makes drawing reproducible."""

    def model_post_init(self, context: Any, /) -> None:
        """Make the clients; one that was given belongs to the loop that runs now."""
        super().model_post_init(context)
        if self.client is not None:
            self._keep_loop()

    @property
    def _time_s(self) -> float:
        return self.timeout_s

    def _request_shield(self, context: ToolContext) -> Shield:
        """The chain's shield, which also knows the markers."""
        return self.shield.knowing(call_markers=[*self._openings(context), self.markers.begin])

    def _openings(self, context: ToolContext) -> dict[str, Tool[Any]]:
        """What opens a call of each tool that can be asked."""
        offered = self.toolbox.offered(context)
        return {self.markers.opening(tool.name): tool for tool in offered if tool.text_argument}

    async def _steps(
        self, messages: list[BaseMessage], run: ToolRun, timeout_s: float
    ) -> AsyncGenerator[ToolPart, None]:
        deadline, tools = Deadline(timeout_s), self._openings(run.context)
        draft = _Draft(prompt=await self._prompt(self._instructed(messages, run), deadline), deadline=deadline)
        ending = Ending.STEPS
        for step in range(1, self.options.max_steps + 1):
            async with aclosing(self._written(draft, list(tools), self.options.max_tokens)) as texts:
                async for text in texts:
                    draft.shown += text
                    yield ToolPart(step=step, text=text)
            opened = await self._stopped_by(draft, list(tools))
            if opened is None:
                cut = draft.finished.finish_reason == v1.FinishReason.FINISH_REASON_LENGTH
                ending = Ending.LENGTH if cut else Ending.ANSWERED
                break
            if step == self.options.max_steps:
                break
            call = await self._query(draft, opened, tools[opened], len(run.outcomes) + 1)
            if call is None:
                ending = Ending.UNFINISHED_CALL
                break
            async with aclosing(run.called([call], step)) as parts:
                async for part in parts:
                    yield part
            draft.spoken += self.markers.result(run.told(run.outcomes[-1]))
        yield ToolPart(
            step=step,
            answer=ToolAnswer(
                text=draft.shown,
                ending=ending,
                steps=step,
                outcomes=tuple(run.outcomes),
                findings=tuple(run.findings),
                input_tokens=draft.input_tokens,
                output_tokens=draft.output_tokens,
                model=draft.started.model,
                weight_version=draft.started.weight_version,
            ),
        )

    def _instructed(self, messages: list[BaseMessage], run: ToolRun) -> list[BaseMessage]:
        """The conversation, after what the model has to know about tools and marks."""
        tools, language = list(self._openings(run.context).values()), self.options.language
        if not tools:
            return with_system(messages, self.options.system_prompt)
        instruction = self.markers.instruction(tools, language)
        return with_system(messages, self.options.system_prompt, instruction, run.spotlight.instruction(language))

    async def _query(self, draft: _Draft, opened: str, tool: Tool[Any], number: int) -> ToolCall | None:
        """Let the model write its query; None if it ends before the query does. The reader does not see it."""
        draft.spoken += self._read_again(draft.text) + opened
        async with aclosing(self._written(draft, [self.markers.end], self.options.query_tokens)) as texts:
            async for _ in texts:
                continue
        if await self._stopped_by(draft, [self.markers.end]) is None:
            return None
        draft.spoken += self._read_again(draft.text) + self.markers.end
        return self._call(tool, draft.text, number)

    def _call(self, tool: Tool[Any], query: str, number: int) -> ToolCall:
        return ToolCall(name=tool.name, arguments={tool.text_argument: query.strip()}, id=f"call_{number}")

    def _read_again(self, text: str) -> str:
        """What the model wrote, as it reads it: spelling a control token out does not make it one."""
        return self.shield.clean(text).text

    async def _prompt(self, messages: list[BaseMessage], deadline: Deadline) -> list[int]:
        """The conversation up to the answer, as tokens."""
        if not self.chat:
            text = "\n\n".join(message.text for message in messages)
            plain = v1.TokenizeRequest(model=self.model, text=text)
            return list((await self._asynchronous.tokenize(plain, timeout_s=deadline.remaining_s())).token_ids)
        request = v1.TokenizeRequest(model=self.model, conversation=v1.Conversation(messages=wire_messages(messages)))
        return list((await self._asynchronous.tokenize(request, timeout_s=deadline.remaining_s())).token_ids)

    async def _written(self, draft: _Draft, stops: list[str], limit: int) -> AsyncGenerator[str, None]:
        """Let the model go on until it ends or is stopped; keeps in the draft what it wrote."""
        tokens = list(draft.prompt)
        if draft.spoken:
            asked = v1.TokenizeRequest(model=self.model, text=draft.spoken, add_special_tokens=False)
            tokens += (await self._asynchronous.tokenize(asked, timeout_s=draft.deadline.remaining_s())).token_ids
        sampling = v1.SamplingParameters(max_tokens=limit, temperature=self.temperature, seed=self.seed, stop=stops)
        request = v1.GenerateRequest(
            model=self.model, prompt=v1.TextOrTokens(token_ids=v1.TokenIds(ids=tokens)), sampling=sampling
        )
        draft.text, draft.token_ids, draft.finished = "", [], v1.Finished()
        events = self._asynchronous.generate_stream(
            v1.GenerateStreamRequest(request=request), timeout_s=draft.deadline.remaining_s()
        )
        async with aclosing(events):
            async for event in events:
                if event.HasField("started"):
                    draft.started = event.started
                elif event.HasField("finished"):
                    draft.finished = event.finished
                elif event.HasField("delta"):
                    draft.token_ids.extend(event.delta.token_ids)
                    draft.text += event.delta.text
                    if event.delta.text:
                        yield event.delta.text
        draft.input_tokens += draft.finished.usage.prompt_tokens
        draft.output_tokens += draft.finished.usage.completion_tokens

    async def _stopped_by(self, draft: _Draft, stops: list[str]) -> str | None:
        """The stop text that ended what was written; None if it ended by itself, which the text alone does not tell."""
        if not stops or draft.finished.finish_reason != v1.FinishReason.FINISH_REASON_STOP:
            return None
        request = v1.DetokenizeRequest(model=self.model, token_ids=draft.token_ids, skip_special_tokens=True)
        answer = await self._asynchronous.detokenize(request, timeout_s=draft.deadline.remaining_s())
        places = {stop: answer.text.find(stop) for stop in stops if stop in answer.text}
        return min(places, key=lambda stop: (places[stop], -len(stop))) if places else None
