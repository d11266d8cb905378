"""The demo's report: every quote can be looked up by the command beside it, and a new report replaces the old whole."""

import io
import json
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from moesaic.cli.demo import QUESTIONS
from moesaic.cli.demo_report import DemoReport
from moesaic.retrieval import KnowledgeHome
from tests.chains.rag_scene import asking, made_base
from tests.cli.running import run
from tests.server.engine.tiny_artifact import write_artifact


@pytest.fixture
async def report(tmp_path: Path) -> DemoReport:
    """A report on two questions, of which the second one is declined."""
    home = KnowledgeHome(tmp_path / "kb")
    report = DemoReport(folder=tmp_path / "out" / "demo-report", knowledge_base="demo")
    with report.timed("index"), made_base(home.path("demo")) as base:
        async with asking(base) as scene:
            report.add_answer(await scene.chain.ainvoke("猫睡在哪里?"), seconds=1.23456)
        async with asking(base, threshold=1.0) as scene:
            report.add_answer(await scene.chain.ainvoke("How much is a ticket?"), seconds=0.5)
    artifact = write_artifact(tmp_path / "artifact")
    report.describe_model(artifact, artifact, base="package:x")
    report.speeds = {"tokens per second": 21.0}
    report.calls = {"constrained": {"capital": "Paris"}}
    return report


async def test_quotes_are_found_by_the_commands_beside_them(report: DemoReport, tmp_path: Path) -> None:
    answered, declined = json.loads(report.write().read_text())["answers"]
    assert (answered["declined"], answered["answer"][:7]) == (False, "猫睡在垫子上。")
    assert (declined["declined"], declined["citations"]) == (True, [])
    assert answered["citations"]
    for citation in answered["citations"]:
        words = shlex.split(citation["command"])
        assert words[0] == "moesaic"
        outcome = run(*words[1:], "--base", str(tmp_path / "kb"))
        assert outcome.stdout.removesuffix("\n") == citation["quote"]


async def test_the_report_holds_model_times_and_calls(report: DemoReport) -> None:
    found = json.loads(report.write().read_text())
    assert found["model"]["weights_bytes"] > 0
    assert found["model"]["experts_per_layer"] == [0, 4, 0, 8]
    assert set(found["timings"]) == {"index"}
    assert found["speeds"] == {"tokens per second": 21.0}
    assert found["calls"] == {"constrained": {"capital": "Paris"}}
    assert found["answers"][0]["seconds"] == 1.235


async def test_a_report_replaces_the_former_whole(report: DemoReport) -> None:
    report.folder.mkdir(parents=True)
    (report.folder / "old.txt").write_text("x")
    report.write()
    assert sorted(path.name for path in report.folder.iterdir()) == ["report.json", "report.md"]
    assert [path.name for path in report.folder.parent.iterdir()] == ["demo-report"]


async def test_people_can_read_it(report: DemoReport) -> None:
    shown = io.StringIO()
    report.show(Console(file=shown, width=200))
    report.write()
    text = (report.folder / "report.md").read_text()
    for words in ("猫睡在垫子上。", "How much is a ticket?", "tokens per second"):
        assert words in shown.getvalue()
        assert words in text
    assert "declined" in shown.getvalue()


def test_the_demo_asks_six_questions_one_in_chinese() -> None:
    assert len(set(QUESTIONS)) == 6
    assert sum(not question.isascii() for question in QUESTIONS) == 1
