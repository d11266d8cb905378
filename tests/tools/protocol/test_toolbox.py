"""What stands between a wish and its execution: each step refuses what it should, and nothing gets past it."""

import asyncio
import logging
import time
from functools import partial
from typing import Any

import pytest

from moesaic.errors import InputError, ToolArgumentError, ToolError, UnavailableError
from moesaic.tools import (
    EVERYBODY,
    Approval,
    ApprovalRequest,
    CallBudget,
    CallStatus,
    Decision,
    MemoryAudit,
    Toolbox,
    ToolboxOptions,
    ToolCall,
    ToolContext,
    ToolResult,
)
from tests.tools.scripted_tools import EchoArguments, EchoTool

HERE = ToolContext.here()
QUICK = ToolboxOptions(backoff_s=0)


def echo(text: str = "hi", *, id: str = "", **more: Any) -> ToolCall:
    return ToolCall(name="echo", arguments={"text": text, **more}, id=id)


async def test_a_call_gives_content_and_artifact() -> None:
    outcome = await Toolbox([EchoTool()]).call(echo("你好", times=2), HERE)
    assert outcome.ok
    assert (outcome.content, outcome.attempts) == ("你好 你好", 1)
    assert outcome.to_json()["result"] == {"content": "你好 你好", "artifact": {"text": "你好 你好"}, "citations": []}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "text: echo needs it"),
        ({"text": "a", "txet": 1}, "txet: echo has no such argument; its arguments: text, times"),
        ({"text": "a", "times": 9}, "times: 9 is refused: Input should be less than or equal to 3"),
        ({"text": "a" * 51}, "at most 50 characters"),
        ({"text": 3, "times": "x"}, r"\(and 1 more\)"),
        ({"text": "a", "times": float("nan")}, "times: nan"),
    ],
    ids=str,
)
async def test_arguments_are_checked(arguments: dict[str, Any], said: str) -> None:
    tool = EchoTool()
    outcome = await Toolbox([tool]).call(ToolCall(name="echo", arguments=arguments), HERE)
    assert outcome.status is CallStatus.INVALID
    assert tool.calls == []
    with pytest.raises(ToolArgumentError, match=said):
        tool.read(arguments)


async def test_allow_lists_hold_per_tenant() -> None:
    box = Toolbox([EchoTool(), EchoTool(name="other")], allowed={"acme": {"echo"}, EVERYBODY: {"other"}})
    seen = {tenant: [tool.name for tool in box.offered(ToolContext(tenant=tenant))] for tenant in ("acme", "zeta")}
    assert seen == {"acme": ["echo"], "zeta": ["other"]}
    refused = await box.call(echo(), ToolContext(tenant="zeta"))
    assert refused.status is CallStatus.REFUSED
    unknown = await box.call(ToolCall(name="nonsense"), ToolContext(tenant="zeta"))
    assert refused.content.replace("echo", "nonsense") == unknown.content  # a tenant does not learn what others have
    assert (await box.call(echo(), ToolContext(tenant="acme"))).ok


async def test_a_tenant_that_no_list_names_may_nothing() -> None:
    box = Toolbox([EchoTool()], allowed={"acme": {"echo"}})
    assert box.offered(ToolContext()) == []
    assert (await box.call(echo(), ToolContext())).status is CallStatus.REFUSED


@pytest.mark.parametrize(
    ("context", "allowed"),
    [(ToolContext(), False), (ToolContext(local=True), True), (ToolContext(authenticated=True), True), (HERE, True)],
    ids=["stranger", "local", "authenticated", "here"],
)
async def test_programs_are_not_executed_for_strangers(context: ToolContext, allowed: bool) -> None:
    tool = EchoTool(executes_programs=True)
    box = Toolbox([tool])
    outcome = await box.call(echo(), context)
    assert outcome.ok is allowed
    assert len(tool.calls) == allowed
    assert [offered.name for offered in box.offered(context)] == (["echo"] if allowed else [])


async def test_only_idempotent_tools_are_tried_again() -> None:
    away = (UnavailableError("away"), UnavailableError("away"))
    patient, careful = EchoTool(idempotent=True, fails=away), EchoTool(fails=away)
    outcome = await Toolbox([patient], options=QUICK).call(echo(), HERE)
    assert (outcome.ok, outcome.attempts) == (True, 3)
    outcome = await Toolbox([careful], options=QUICK).call(echo(), HERE)
    assert (outcome.status, outcome.attempts, outcome.error) == (CallStatus.FAILED, 1, "UnavailableError")


async def test_attempts_end() -> None:
    tool = EchoTool(idempotent=True, fails=tuple(UnavailableError("away") for _ in range(9)))
    outcome = await Toolbox([tool], options=QUICK).call(echo(), HERE)
    assert (outcome.status, len(tool.calls)) == (CallStatus.FAILED, 3)


async def test_what_will_not_pass_is_not_tried_again() -> None:
    tool = EchoTool(idempotent=True, fails=(ToolError("no such city"),))
    outcome = await Toolbox([tool], options=QUICK).call(echo(), HERE)
    assert (outcome.status, outcome.attempts, outcome.content) == (CallStatus.FAILED, 1, "no such city")


async def test_no_attempt_begins_that_the_deadline_forbids() -> None:
    tool = EchoTool(idempotent=True, fails=(UnavailableError("away"),))
    box = Toolbox([tool], options=ToolboxOptions(backoff_s=60))
    outcome = await box.call(echo(), ToolContext.here(timeout_s=29))  # it waits for 30 s at least
    assert (outcome.status, outcome.attempts) == (CallStatus.FAILED, 1)


async def test_time_is_limited_by_box_tool_and_deadline() -> None:
    for box, context in (
        (Toolbox([EchoTool(delay_s=600)], options=ToolboxOptions(timeout_s=0.01)), HERE),
        (Toolbox([EchoTool(delay_s=600, timeout_s=0.01)]), HERE),
        (Toolbox([EchoTool(delay_s=600)]), ToolContext.here(timeout_s=0.01)),
        (Toolbox([EchoTool()]), ToolContext(deadline=time.monotonic() - 1)),
    ):
        outcome = await box.call(echo(), context)
        assert (outcome.status, outcome.error) == (CallStatus.TIMED_OUT, "DeadlineExceededError")


async def test_a_defect_of_a_tool_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "moesaic.tools.toolbox"):
        outcome = await Toolbox([EchoTool(fails=(KeyError("/etc/secret"),))]).call(echo(), HERE)
    assert outcome.status is CallStatus.FAILED
    assert "KeyError" in outcome.content
    assert "/etc/secret" not in outcome.content
    assert "/etc/secret" in caplog.text


async def test_a_call_that_is_repeated_is_made_once() -> None:
    tool = EchoTool()
    box = Toolbox([tool])
    first = await box.call(echo("a", times=2, id="c1"), HERE)
    again = await box.call(ToolCall(name="echo", arguments={"times": 2, "text": "a"}, id="c1"), HERE)
    assert (first.repeated, again.repeated, again.content) == (False, True, "a a")
    assert len(tool.calls) == 1
    other = await box.call(echo("b", id="c1"), HERE)
    assert (other.status, len(tool.calls)) == (CallStatus.INVALID, 1)
    assert "'c1' names another call" in other.content


async def test_names_of_calls_belong_to_request_and_tenant() -> None:
    tool = EchoTool()
    box = Toolbox([tool])
    for context in (HERE, ToolContext.here(), ToolContext(request_id=HERE.request_id, tenant="acme")):
        assert (await box.call(echo(id="c1"), context)).ok
    assert len(tool.calls) == 3
    assert {context.call_id for context in tool.contexts} == {"c1"}


async def test_repetitions_wait_for_the_first() -> None:
    tool = EchoTool(delay_s=0.02)
    box = Toolbox([tool])
    outcomes = await asyncio.gather(*(box.call(echo(id="c1"), HERE) for _ in range(5)))
    assert len(tool.calls) == 1
    assert [outcome.repeated for outcome in outcomes] == [False, True, True, True, True]


async def test_a_cancelled_call_leaves_its_name_to_the_next() -> None:
    begun = asyncio.Event()

    class FirstHangs(EchoTool):
        async def call(self, arguments: EchoArguments, context: ToolContext) -> ToolResult:
            if not begun.is_set():
                begun.set()
                await asyncio.Event().wait()
            return await super().call(arguments, context)

    tool = FirstHangs()
    box = Toolbox([tool], audit=(audit := MemoryAudit()))
    first = asyncio.create_task(box.call(echo(id="c1"), HERE))
    await begun.wait()
    second = asyncio.create_task(box.call(echo(id="c1"), HERE))
    await asyncio.sleep(0)  # it waits for the first one now
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    outcome = await second
    assert (outcome.ok, outcome.repeated, len(tool.calls)) == (True, False, 1)
    assert [entry.status for entry in audit.entries if entry.event == "ended"] == ["cancelled", "ok"]


async def test_names_are_forgotten_beyond_the_limit() -> None:
    tool = EchoTool()
    box = Toolbox([tool], options=ToolboxOptions(remembered_calls=2))
    for name in ("a", "b", "c", "a"):
        await box.call(echo(id=name), HERE)
    assert len(tool.calls) == 4


async def test_a_budget_is_shared_by_parallel_calls() -> None:
    tool = EchoTool(delay_s=0.01)
    box = Toolbox([tool])
    context = ToolContext.here(calls=2)
    outcomes = await asyncio.gather(*(box.call(echo(str(n)), context) for n in range(4)))
    assert sorted(outcome.status for outcome in outcomes) == ["ok", "ok", "refused", "refused"]
    assert len(tool.calls) == 2
    assert context.budget is not None
    assert context.budget.left == 0
    with pytest.raises(InputError):
        CallBudget(-1)


async def test_results_have_limits() -> None:
    options = ToolboxOptions(result_characters=100, artifact_bytes=50)
    large = EchoTool(answer=lambda _: ["x" * 100])
    outcome = await Toolbox([large], options=options).call(echo("字" * 50, times=3), HERE)
    assert outcome.result is not None
    assert outcome.content == ("字" * 50 + " " + "字" * 49) + "\n[cut here: the first 100 of 152 characters]"
    assert outcome.result.artifact == {"left_out_bytes": 104, "allowed_bytes": 50}
    for broken in (object(), float("nan"), {1: object()}):
        tool = EchoTool(answer=partial(given_back, broken))
        outcome = await Toolbox([tool]).call(echo(), HERE)
        assert (outcome.status, outcome.error) == (CallStatus.FAILED, "ToolError")
    half = await Toolbox([EchoTool(answer=lambda _: None)]).call(echo("\ud83d"), HERE)
    assert half.status is CallStatus.INVALID


def given_back(value: Any, _: EchoArguments) -> Any:
    return value


class Person:
    """Somebody who is asked."""

    def __init__(self, said: Approval, delay_s: float = 0.0) -> None:
        self.asked: list[ApprovalRequest] = []
        self._said = said
        self._delay_s = delay_s

    async def __call__(self, request: ApprovalRequest) -> Approval:
        self.asked.append(request)
        await asyncio.sleep(self._delay_s)
        return self._said


async def test_a_person_agrees() -> None:
    person = Person(Approval(decision=Decision.APPROVED, by="ada"))
    outcome = await Toolbox([EchoTool(needs_approval=True)], approver=person).call(echo("pay"), HERE)
    assert (outcome.ok, outcome.approval) == (True, "approved by ada")
    assert person.asked[0].arguments == {"text": "pay"}
    free = await Toolbox([EchoTool()], approver=person).call(echo(), HERE)
    assert (free.ok, free.approval, len(person.asked)) == (True, "", 1)


async def test_a_person_edits_and_the_edit_is_checked() -> None:
    options = ToolboxOptions(needs_approval=frozenset({"echo"}))
    for arguments, status in (({"text": "less"}, CallStatus.OK), ({"text": ""}, CallStatus.INVALID)):
        tool = EchoTool()
        person = Person(Approval(decision=Decision.EDITED, arguments=arguments))
        audit = MemoryAudit()
        outcome = await Toolbox([tool], options=options, approver=person, audit=audit).call(echo("more"), HERE)
        assert outcome.status is status
        assert [call.text for call in tool.calls] == (["less"] if status is CallStatus.OK else [])
        assert [entry.arguments for entry in audit.entries] == [{"text": "more"}, arguments]


async def test_a_person_refuses_or_does_not_answer() -> None:
    no = Person(Approval(decision=Decision.REFUSED, reason="too dear"))
    silent = Person(Approval(decision=Decision.APPROVED), delay_s=600)
    for approver, wait_s, said in (
        (no, 30.0, "too dear"),
        (silent, 0.01, "nobody approved"),
        (None, 30.0, "nobody can be asked"),
    ):
        tool = EchoTool(needs_approval=True)
        options = ToolboxOptions(approval_timeout_s=wait_s)
        outcome = await Toolbox([tool], approver=approver, options=options).call(echo(), HERE)
        assert outcome.status is CallStatus.REFUSED
        assert said in outcome.content
        assert tool.calls == []


def test_what_makes_no_sense_is_refused_at_once() -> None:
    for make in (
        lambda: Toolbox([EchoTool(), EchoTool()]),
        lambda: Toolbox([EchoTool(name="a b")]),
        lambda: Toolbox([EchoTool()], allowed={"acme": {"ehco"}}),
        lambda: Toolbox([EchoTool()], options=ToolboxOptions(needs_approval=frozenset({"ehco"}))),
        lambda: ToolboxOptions(attempts=0),
        lambda: ToolboxOptions(timeout_s=float("nan")),
        lambda: ToolContext(tenant=""),
    ):
        with pytest.raises(InputError):
            make()


def test_descriptions_have_a_language() -> None:
    assert EchoTool().described("zh") == "重复一段文字。"
    assert EchoTool(description_zh="").described("zh") == "Repeat a text."
