"""`moesaic model upcycle` on unusable bases, on a full disk, and interrupted: refused in words, without a trace."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import assert_nothing_left, edit_json, refusal, run
from tests.model.tiny_dense import tiny_model
from tests.server.engine.tiny_artifact import write_tokenizer

EXPERTS = ("--experts", 2, "--experts-last", 4, "--last", 1)


@pytest.fixture
def own_base(base: Path, tmp_path: Path) -> Path:
    """A copy of the Llama that a test may damage."""
    return Path(shutil.copytree(base, tmp_path / "base"))


def another_architecture(base: Path) -> None:
    edit_json(base / "config.json", model_type="gemma", architectures=["GemmaForCausalLM"])


def another_tokenizer(base: Path) -> None:
    content = json.loads((base / "tokenizer.json").read_text())
    content["model"]["vocab"] |= {f"token {rank}": rank for rank in range(257, 400)}
    (base / "tokenizer.json").write_text(json.dumps(content))


def no_tokenizer(base: Path) -> None:
    for path in base.glob("tokenizer*"):
        path.unlink()


def second_shard(base: Path) -> Path:
    (path,) = base.glob("model-00002-of-*.safetensors")
    return path


def a_missing_shard(base: Path) -> None:
    second_shard(base).unlink()


def a_truncated_shard(base: Path) -> None:
    path = second_shard(base)
    path.write_bytes(path.read_bytes()[:-100])


def a_broken_config(base: Path) -> None:
    (base / "config.json").write_text('{"model_type": "lla')


def another_width(base: Path) -> None:
    edit_json(base / "config.json", intermediate_size=128)


def pickled_weights(base: Path) -> None:
    for path in base.glob("model*"):
        path.unlink()
    (base / "pytorch_model.bin").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "code", "parts"),
    [
        (another_architecture, 2, ["gemma", "llama", "mistral", "qwen2", "qwen3"]),
        (another_tokenizer, 2, ["399", "319", "another model"]),
        (no_tokenizer, 2, ["no tokenizer", "tokenizer.json"]),
        (a_missing_shard, 3, ["model-00002-of-"]),
        (a_truncated_shard, 3, ["model-00002-of-"]),
        (a_broken_config, 3, ["config.json"]),
        (another_width, 2, ["mlp", "128", "96"]),
        (pickled_weights, 2, ["pytorch_model.bin", "safetensors"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_unusable_bases_are_refused(
    own_base: Path, tmp_path: Path, damage: Callable[[Path], None], code: int, parts: list[str]
) -> None:
    damage(own_base)
    message = refusal(code, "model", "upcycle", own_base, tmp_path / "out")
    assert [part for part in parts if part not in message] == [], message
    assert_nothing_left(tmp_path / "out")


def test_feed_forward_layers_with_biases_cannot_be_experts(tmp_path: Path) -> None:
    model = tiny_model("llama", mlp_bias=True)
    model.save_pretrained(tmp_path / "base")
    write_tokenizer(tmp_path / "base")
    assert "mlp_bias" in refusal(2, "model", "upcycle", tmp_path / "base", tmp_path / "out")
    assert_nothing_left(tmp_path / "out")


# Python would cut off the bytecode that it keeps of large modules too, and later runs would stumble over it.
_SMALL_FILES = """
import resource, sys
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
"""
# A job in the background of a shell without job control begins with SIGINT ignored; a person's command does not.
_SLOW_CANARY = """
import signal, time
import moesaic.model.conversion

signal.signal(signal.SIGINT, signal.default_int_handler)

def wait(*arguments, **options):
    print("staged", flush=True)
    time.sleep(100)

moesaic.model.conversion.make_canary = wait
"""
_MAIN = "\nfrom moesaic.cli import main\nmain()\n"


def start(preparation: str, *words: object) -> "subprocess.Popen[str]":
    """The command in a process of its own, after some preparation."""
    command = [sys.executable, "-c", preparation + _MAIN, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_full_disk_is_an_error_of_its_own_and_leaves_nothing(base: Path, tmp_path: Path) -> None:
    with start(_SMALL_FILES, "model", "upcycle", base, tmp_path / "out") as process:
        stdout, stderr = process.communicate(timeout=240)
    assert (process.returncode, stdout) == (4, "")
    message = " ".join(stderr.split())
    assert "StorageError" in message
    assert "free some space" in message
    assert "Traceback" not in stderr
    assert_nothing_left(tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_an_interrupted_conversion_leaves_nothing(base: Path, tmp_path: Path, number: signal.Signals) -> None:
    target = tmp_path / "out"
    with start(_SLOW_CANARY, "model", "upcycle", base, target, *EXPERTS) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "staged\n"
            assert list(tmp_path.glob(".out.partial-*"))
            process.send_signal(number)
            _, stderr = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in stderr
    assert not target.exists()
    if number == signal.SIGINT:
        assert_nothing_left(target)

    assert run("model", "upcycle", base, target, *EXPERTS).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
