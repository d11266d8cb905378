"""Small sound artifacts and their parts, for the tests beside this file."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moesaic.artifact import ArchitectureFacts, ArtifactWriter, Canary, Licence, Lineage, ModelArtifact, Quantization

FILES: dict[str, bytes] = {
    "config.json": '{"model_type": "gpt_moe", "note": "领域模型"}'.encode(),
    "model.safetensors": bytes(range(256)) * 40,
    "LICENSE-base.txt": b"Apache License",
}

ARCHITECTURE = ArchitectureFacts(
    model_type="gpt_moe",
    architecture="GPTMoEForCausalLM",
    parameters_total=1000,
    parameters_active=600,
    num_hidden_layers=4,
    hidden_size=8,
    vocab_size=64,
    context_length=128,
    experts_per_layer=(0, 4, 0, 8),
    dtype="bfloat16",
)

QUANTIZATION = Quantization(
    scheme="int8",
    format="int-quantized",
    weight_bits=8,
    activation_bits=8,
    group_size=None,
    matrices=12,
    parameters=900,
)

LINEAGE = Lineage(
    operation="upcycle",
    base="package:tiny",
    parent=None,
    options={"experts": [0, 4, 0, 8], "drop_ratio": 0.5, "seed": 7, "说明": "医学"},
    created="2026-02-03T04:05:06Z",
    moesaic_version="0.1.0",
)

LICENCE = Licence(name="apache-2.0", file="LICENSE-base.txt")

CANARY = Canary(
    sequences=((1, 2, 3), (4, 5)),
    logprobs=((-1.0, -2.0), (-3.0,)),
    threshold=0.1,
    computed_with="torch 2, float32",
)

FACTS: Mapping[str, Any] = {
    "name": "tiny 小模型",
    "architecture": ARCHITECTURE,
    "lineage": LINEAGE,
    "licence": LICENCE,
    "quantization": QUANTIZATION,
    "metrics": {"perplexity": 12.5},
    "canary": CANARY,
}


NEW_FILES = {**FILES, "model.safetensors": b"new weights"}
"""Another model of the same shape."""


def fill(folder: Path, files: Mapping[str, bytes] = FILES) -> None:
    """Write `files` below `folder`."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def build(
    target: Path,
    files: Mapping[str, bytes] = FILES,
    *,
    overwrite: bool = False,
    prepare: Callable[[Path], object] | None = None,
    **changes: object,
) -> ModelArtifact:
    """Build an artifact of `files` at `target`; `prepare` gets the folder just before it is committed."""
    with ArtifactWriter(target, overwrite=overwrite) as writer:
        fill(writer.folder, files)
        if prepare is not None:
            prepare(writer.folder)

        return writer.commit(**{**FACTS, **changes})


def names(folder: Path) -> list[str]:
    """What stands in `folder`, hidden entries too, in order."""
    return sorted(path.name for path in folder.iterdir())


def run_python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a process of this project's Python, with pipes; the caller ends it."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=pipe, stdout=pipe, text=True)


def tree(folder: Path) -> dict[str, bytes]:
    """Names and contents of everything under `folder`, hidden files too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
