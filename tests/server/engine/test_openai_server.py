"""vLLM's own OpenAI server, started as its users start it, serves our artifacts where the package is installed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from moesaic.artifact import ModelArtifact
from moesaic.model import conversion
from moesaic.model.quantized import Scheme
from tests.server.engine.tiny_artifact import write_artifact

pytestmark = pytest.mark.engine

STEP_TOKENS = 128
START_S = 480
MODEL = "specialist"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    """A tiny GPT-MoE in int8."""
    folder = tmp_path_factory.mktemp("openai")
    plain = write_artifact(folder / "moe", dtype=torch.bfloat16)
    return conversion.quantize(plain.folder, folder / "moe-int8", Scheme.INT8)


def free_port() -> int:
    """A free port below those that the system gives away: half a minute passes until vLLM opens it."""
    lowest_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in [*range(lowest_given - 1 - os.getpid() % 4000, 1024, -1), 0]:  # 0: where the system gives away all
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            found: int = listener.getsockname()[1]
            return found
    raise AssertionError("no port is free")


def ended(group: int) -> bool:
    """Whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a server and all its children, whatever they are doing."""
    for number, patience_s in ((signal.SIGTERM, 30), (signal.SIGKILL, 60)):
        if ended(process.pid):
            return
        os.killpg(process.pid, number)
        deadline = time.monotonic() + patience_s
        while not ended(process.pid) and time.monotonic() < deadline:
            process.poll()
            time.sleep(0.05)


def ask(base: str, path: str, body: dict[str, Any] | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(base + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as response:
        content: bytes = response.read()
        return content


def complete(base: str, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(ask(base, "/v1/completions", {"model": MODEL, **options}))
    return answer


@pytest.fixture(scope="module")
def server(artifact: ModelArtifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the running server."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")  # not the checkout, where `moesaic` could be imported uninstalled
    log = elsewhere / "server.log"
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(artifact.folder)]
    command += ["--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--max-num-batched-tokens", str(STEP_TOKENS), "--max-num-seqs", "4", "--max-model-len", "512"]
    command += ["--kv-cache-memory-bytes", str(2**25)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=elsewhere, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        base = f"http://127.0.0.1:{port}"
        wait_until_up(base, process, log)
        yield base
    finally:
        end_group(process)
        assert ended(process.pid), "a process of vLLM's server is still there"


def wait_until_up(base: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended:\n{log.read_text(errors='replace')[-4000:]}"
        try:
            ask(base, "/health")
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the server was not up after {START_S} s:\n{log.read_text(errors='replace')[-4000:]}")


def test_it_loads_an_int8_artifact_and_answers(server: str, artifact: ModelArtifact) -> None:
    answer = complete(server, prompt=list(range(30, 60)), max_tokens=8, temperature=0, ignore_eos=True, logprobs=0)
    (choice,) = answer["choices"]
    assert (choice["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 8)
    assert len(choice["logprobs"]["token_logprobs"]) == 8
    models = json.loads(ask(server, "/v1/models"))["data"]
    assert [(model["id"], model["root"]) for model in models] == [(MODEL, str(artifact.folder))]


def test_it_computes_what_the_artifact_promises(server: str, artifact: ModelArtifact) -> None:
    canary = artifact.manifest.canary
    assert canary is not None
    observed = []
    for sequence in canary.sequences:
        answer = complete(server, prompt=list(sequence), max_tokens=1, prompt_logprobs=0)
        (choice,) = answer["choices"]
        rows = zip(sequence[1:], choice["prompt_logprobs"][1:], strict=True)
        observed.append([row[str(token)]["logprob"] for token, row in rows])
    canary.check(observed)


def test_a_seed_with_a_prompt_of_many_steps_leaves_it_alive(server: str) -> None:
    prompt = [(7 * position) % 250 for position in range(2 * STEP_TOKENS + 50)]
    drawn = [complete(server, prompt=prompt, max_tokens=12, temperature=1, seed=5, ignore_eos=True) for _ in range(2)]
    texts = [answer["choices"][0]["text"] for answer in drawn]
    assert texts[0] == texts[1]
    usage = drawn[0]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (len(prompt), 12)
    ask(server, "/health")


def test_it_refuses_a_prompt_beyond_the_context_and_lives_on(server: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        complete(server, prompt=[5] * 600, max_tokens=4)
    with refused.value as response:
        assert response.code == 400
        assert "512" in response.read().decode()
    ask(server, "/health")
