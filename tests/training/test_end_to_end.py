"""From raw text to what vLLM says, each step by its command: tokenizer, training, tuning, int8, and a refresh."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moesaic import v1
from moesaic.artifact import ModelArtifact, ModelRegistry, RegistryVerb
from moesaic.client import Client
from moesaic.server.engine import GenerateRequest, SamplingParameters, VllmEngine, VllmSettings
from tests.cli.running import refusal, run
from tests.client.waiting import PATIENCE_S
from tests.repository import ROOT
from tests.training.test_guide import page
from tests.training.tiny_run import one_thread

ANSWER = "提交记录了它的父提交。"
MODEL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
    "num_experts_per_layer": [0, 2, 0, 4],
    "tie_word_embeddings": True,
}


def recipe(place: Path, name: str, **tables: dict[str, Any]) -> Path:
    """A recipe of a few steps whose artifact is `build/NAME`."""
    common: dict[str, dict[str, Any]] = {
        "run": {"folder": f"build/runs/{name}", "steps": 12, "checkpoint_every": 6},
        "batch": {"rows": 4, "micro_rows": 4, "sequence_length": 128},
        "optimizer": {"learning_rate": 0.005},
        "output": {"folder": f"build/{name}"},
    }
    merged = common | {table: common.get(table, {}) | values for table, values in tables.items()}
    path = place / f"{name}.toml"
    path.write_text("".join(f"{table} = {inline(values)}\n" for table, values in merged.items()), encoding="utf-8")
    return path


def inline(value: Any) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


def done(*words: object) -> None:
    outcome = run(*words)
    assert outcome.code == 0, f"{words}\n{outcome.stderr}"


def prepare(place: Path) -> None:
    """Raw text of two kinds, and conversations."""
    chinese = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/zh").glob("*.md")))
    kinds = {"general": [page(number) for number in range(8)], "field": chinese.split("\n## ")}
    for kind, texts in kinds.items():
        (place / kind).mkdir()
        for number, text in enumerate(texts):
            (place / kind / f"{number}.txt").write_text(text, encoding="utf-8")
    talk = {"messages": [{"role": "user", "content": "提交记录什么？"}, {"role": "assistant", "content": ANSWER}]}
    (place / "talk.jsonl").write_text(json.dumps(talk, ensure_ascii=False) + "\n", encoding="utf-8")


@pytest.mark.engine
@pytest.mark.asyncio
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("plots_drawn")
async def test_raw_text_becomes_a_served_int8_mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    scratch = {"start": "scratch", "tokenizer": "build/tokenizer", "config": MODEL}
    margin = {"kind": "margin"}
    with one_thread():
        done("tokenizer", "train", "build/tokenizer", "general", "field", "--preset", "en-zh-8k", "--vocab-size", 1600)
        done("train", recipe(tmp_path, "base", model=scratch, text={"paths": ["general", "field"]}, router=margin))
        adapted = {"stage": "dapt", "folder": "build/runs/domain"}
        sources = [
            {"name": "field", "paths": ["field"], "ratio": 0.8},
            {"name": "general", "paths": ["general"], "ratio": 0.2},
        ]
        data = {"folder": "build/data", "sources": sources}
        follow = {"start": "continue", "base": "build/base"}
        done("train", recipe(tmp_path, "domain", run=adapted, model=follow, data=data))
        tuned = {"stage": "sft", "folder": "build/runs/tuned", "steps": 150}
        examples = {"kind": "conversations", "paths": ["talk.jsonl"]}
        output = {"folder": "build/tuned", "quantize": "int8"}
        base = {"start": "continue", "base": "build/domain"}
        done("train", recipe(tmp_path, "tuned", run=tuned, model=base, examples=examples, output=output))
    artifact = ModelArtifact.open("build/tuned-int8")
    lineage = artifact.manifest.lineage
    assert [step.operation for step in (*reversed(lineage.ancestors), lineage)] == [
        "pretrain",
        "dapt",
        "sft",
        "quantize",
    ]
    assert await generated(artifact, "提交记录什么？") == ANSWER


async def generated(artifact: ModelArtifact, question: str) -> str:
    """What vLLM answers, greedily."""
    engine = VllmEngine(artifact, VllmSettings(max_num_seqs=4, max_num_batched_tokens=64, kv_cache_bytes=32 * 2**20))
    await engine.start()
    try:
        asked = [{"role": "user", "content": question}]
        prompt = engine.tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        tokens = tuple(engine.tokenizer.encode(prompt, add_special_tokens=False))
        request = GenerateRequest(prompt_token_ids=tokens, sampling=SamplingParameters(max_tokens=40, temperature=0.0))
        return "".join([delta.text async for delta in engine.generate(request)])
    finally:
        await engine.stop()


@pytest.mark.engine
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("plots_drawn")
def test_a_refresh_turns_a_running_server_and_a_damaged_candidate_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    text = {"paths": ["general", "field"]}
    with one_thread():
        done("tokenizer", "train", "build/tokenizer", "general", "field", "--preset", "en-zh-8k", "--vocab-size", 1600)
        scratch = {"start": "scratch", "tokenizer": "build/tokenizer", "config": MODEL}
        rounded = {"quantize": "int8"}
        done("train", recipe(tmp_path, "first", model=scratch, text=text, output={"folder": "build/first"} | rounded))
        done("registry", "publish", "build/registry", "build/first-int8")
        for name, base in (("second", "first"), ("third", "second")):
            follow = {"start": "continue", "base": f"build/{base}"}
            output = {"folder": f"build/{name}"} | rounded
            refresh = {"registry": "build/registry", "recipe": f"{name}.toml"}
            gate = {"texts": {"field": "field"}}
            recipe(tmp_path, name, model=follow, text=text, output=output)
            write_tables(tmp_path / f"refresh-{name}.toml", {"refresh": refresh, "gate": gate})
        target = f"unix:{tmp_path / 's.sock'}"
        with followed_server("build/registry", target), Client(target) as client:
            assert served_digest(client) == ModelArtifact.open("build/first-int8").digest
            wait_for_a_verb(RegistryVerb.SERVED)  # noted after "serving" was said: what follows is to stand behind it
            done("refresh", "refresh-second.toml", "--server", target)
            second = ModelArtifact.open("build/second-int8").digest
            assert served_digest(client) == second

            done("train", "third.toml")
            weights = next(Path("build/third-int8").glob("*.safetensors"))
            content = bytearray(weights.read_bytes())
            content[-1] ^= 0xFF
            weights.write_bytes(bytes(content))
            assert weights.name in refusal(3, "refresh", "refresh-third.toml", "--server", target)
            assert served_digest(client) == second
            assert said(client)
    verbs = [event.verb for event in ModelRegistry.open(Path("build/registry")).history()]
    assert verbs[0] == verbs[-2] == RegistryVerb.PUBLISHED
    assert verbs[-1] == RegistryVerb.SERVED


def write_tables(path: Path, tables: dict[str, dict[str, Any]]) -> None:
    path.write_text("".join(f"{table} = {inline(values)}\n" for table, values in tables.items()), encoding="utf-8")


@contextmanager
def followed_server(registry: str, target: str) -> Iterator[None]:
    """`moesaic serve` on a registry, for the time of a block."""
    settings = {"engine": {"max_num_seqs": 4, "max_num_batched_tokens": 64, "kv_cache_bytes": 32 * 2**20}}
    write_tables(Path("moesaic.toml"), settings)
    installed = Path(sys.executable).with_name("moesaic")
    words = [str(installed), "serve", "--model", registry, "--listen", target, "--config", "moesaic.toml"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        try:
            assert server.stdout is not None
            ready, _, _ = select.select([server.stdout], [], [], 300)
            assert ready, "it did not say that it serves"
            assert server.stdout.readline().startswith("serving ")
            yield
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
                server.wait(120)


def wait_for_a_verb(verb: RegistryVerb) -> None:
    ends = time.monotonic() + PATIENCE_S
    while verb not in [event.verb for event in ModelRegistry.open(Path("build/registry")).history()]:
        assert time.monotonic() < ends, f"nothing was {verb} in time"
        time.sleep(0.02)


def served_digest(client: Client) -> str:
    return client.get_model_info(v1.GetModelInfoRequest(), timeout_s=60).weight_version


def said(client: Client) -> str:
    prompt = v1.TextOrTokens(text="提交")
    asked = v1.GenerateRequest(prompt=prompt, sampling=v1.SamplingParameters(max_tokens=8, ignore_eos=True))
    return client.generate(asked, timeout_s=120).completions[0].text
