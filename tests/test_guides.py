"""The guides about clients and LangChain do what they show: their Python blocks run against a real server."""

import re

import pytest

from moesaic.retrieval import ScriptedEmbedder
from moesaic.server.engine import ScriptedEngine
from tests import documents
from tests.chains.scripted_model import sensible
from tests.chains.served import served
from tests.repository import ROOT

ADDRESS = "127.0.0.1:50051"

SHOWN = {
    "clients.md": ["I heard: Why are leaves green?", "sampling.top_p", "must not travel unencrypted"],
    "langchain.md": [
        "I heard: Why are leaves green?",
        "spruce True",
        "'args': {'a': 2, 'b': 3}",
        "The tool says: 5",
        "Leaves are green.",
        "top_p",
        "Because of chlorophyll.",
    ],
}
"""What each guide prints, among other things, in order."""


@pytest.mark.parametrize("name", SHOWN)
def test_a_guide_does_what_it_shows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = documents.code_blocks((ROOT / "docs" / name).read_text(encoding="utf-8"), "python")
    assert len(blocks) >= 4
    engine = ScriptedEngine(sensible, context_length=32768)
    with served(engine, embedder=ScriptedEmbedder()) as target:
        scope: dict[str, object] = {"__name__": f"docs.{name}"}
        for block in blocks:
            exec(compile(block.replace(ADDRESS, target), name, "exec"), scope)
    pattern = ".*".join(re.escape(part) for part in SHOWN[name])
    assert re.search(pattern, capsys.readouterr().out, re.DOTALL)
