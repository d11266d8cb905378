"""The walk of docs/bring-your-own-model.md, line by line as the page has it, on a Qwen2 and on a Llama."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from moesaic.artifact import ModelArtifact
from tests import documents
from tests.model.tiny_dense import tiny_model
from tests.repository import ROOT
from tests.server.engine.tiny_artifact import write_tokenizer

pytestmark = pytest.mark.engine

PAGE = ROOT / "docs/bring-your-own-model.md"
VERBS = ["upcycle", "quantize", "verify", "doctor", "generate"]
SIZES = {"num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 512}


def walk() -> list[list[str]]:
    """The commands of the page's first block."""
    block = documents.code_blocks(PAGE.read_text(encoding="utf-8"), "bash")[0]
    return list(documents.commands(f"```bash\n{block}```\n"))


def write_model(folder: Path, family: str) -> None:
    """A random model as the hub would deliver it: many shards, their index, a tokenizer."""
    model = tiny_model(family, **SIZES, bos_token_id=None, eos_token_id=256)
    model.save_pretrained(folder, max_shard_size="100KB")
    write_tokenizer(folder)
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2


def run(command: list[str], folder: Path) -> str:
    """Run a line of the page in a folder that holds `my-model`, and return what it printed."""
    program, *words = command
    assert program == ".venv/bin/moesaic"
    installed = Path(sys.executable).with_name("moesaic")
    done = subprocess.run([installed, *words], cwd=folder, capture_output=True, timeout=500, check=False)
    output, complaints = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{' '.join(command)}\n{output}\n{complaints}"
    assert "Traceback" not in complaints
    return output + complaints


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.timeout(1200)
def test_the_documented_walk(tmp_path: Path, family: str) -> None:
    write_model(tmp_path / "my-model", family)
    commands = walk()
    assert [next(verb for verb in VERBS if verb in words[:3]) for words in commands] == VERBS
    printed = {verb: run(words, tmp_path) for verb, words in zip(VERBS, commands, strict=True)}

    assert "2 of 4 layers: 2 with 8 experts" in printed["upcycle"]
    assert "int8" in printed["quantize"]
    assert printed["verify"].startswith("sound: ")
    assert "can serve this artifact" in printed["doctor"]
    assert "VllmEngine" in printed["generate"]
    assert "tokens in" in printed["generate"]

    served = ModelArtifact.open(tmp_path / "build/my-moe-int8")
    config = json.loads((tmp_path / "my-model/config.json").read_text())
    assert config["model_type"] == family
    assert served.manifest.lineage.base == "my-model"
    assert served.config()["attention_bias"] is (family == "qwen2")
    assert [step.operation for step in served.manifest.lineage.ancestors] == ["upcycle"]
