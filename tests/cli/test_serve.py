"""`moesaic serve` as a process of its own: it listens, refuses a second one, drains when it is told to stop."""

import json
import logging
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

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moesaic import v1
from moesaic.artifact import ModelArtifact
from moesaic.client import Client
from tests.cli.running import refusal
from tests.server.engine.tiny_artifact import write_artifact

START_S = 240
PATIENCE_S = 60
DRAINED = v1.FinishReason.FINISH_REASON_DRAINED


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    return write_artifact(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """What the command sets for its process is taken back."""
    logger = logging.getLogger("moesaic")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def command(artifact: ModelArtifact, *words: object) -> list[str]:
    # Who is told to go on reading may be kept from it for longer than a server waits.
    main = "from moesaic.server import inference; inference._LAST_WORDS_S = 60.0; from moesaic.cli import main; main()"
    given = ["serve", "--model", artifact.folder, "--engine", "transformers", *words]
    return [sys.executable, "-c", main, *map(str, given)]


@contextmanager
def process(artifact: ModelArtifact, *words: object) -> Iterator["subprocess.Popen[str]"]:
    """A server that has said where it serves; it is ended after the block, whatever happens in it."""
    with subprocess.Popen(
        command(artifact, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            assert server.stdout is not None
            ready, _, _ = select.select([server.stdout], [], [], START_S)
            assert ready, "it did not say that it serves"
            assert server.stdout.readline().startswith("serving tiny on unix:"), server.communicate(timeout=10)
            yield server
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)


def prompt(tokens: int, *, request_id: str = "", **options: Any) -> v1.GenerateRequest:
    sampling = v1.SamplingParameters(max_tokens=tokens, ignore_eos=True, **options)
    return v1.GenerateRequest(prompt=v1.TextOrTokens(text="Hello"), sampling=sampling, request_id=request_id)


def served(target: str) -> int:
    """What health says."""
    with grpc.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
    return int(answer.status)


def test_it_serves_until_it_is_told_to_stop_and_drains(artifact: ModelArtifact, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    target = f"unix:{path}"
    (tmp_path / "server.toml").write_text(f'[server]\nlisten = "{target}"\ndrain_s = 0.3\n')
    with process(artifact, "--config", tmp_path / "server.toml", "--log-calls", "--name", "tiny") as server:
        assert served(target) == health_pb2.HealthCheckResponse.SERVING
        with Client(target, retries=0) as client:
            answer = client.generate(prompt(4, request_id="first"))
            assert len(answer.completions[0].token_ids) == 4
            assert answer.weight_version == artifact.digest
            again = ("--model", artifact.folder, "--engine", "transformers", "--listen", target)
            assert "another program listens" in refusal(2, "serve", *again)

            # Half a minute of work: it is still open when the server is told to stop.
            endless = v1.GenerateStreamRequest(request=prompt(4000, logprobs=10))
            events = client.generate_stream(endless, timeout_s=4 * PATIENCE_S)
            assert next(events).HasField("started")
            server.send_signal(signal.SIGTERM)
            rest = list(events)
            assert rest[-1].finished.finish_reason == DRAINED
        stdout, stderr = server.communicate(timeout=PATIENCE_S)
        assert server.returncode == 0, stderr
    assert not path.exists()
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "1 open requests may end" in stderr
    lines = [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]
    logged = [line["request_id"] for line in lines if line["message"] == "call" and line["method"] == "Generate"]
    assert len(logged) == 1, "each call is logged once"
    assert "Hello" not in stderr


def test_told_to_stop_while_it_loads_it_goes_at_once(artifact: ModelArtifact, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    words = command(artifact, "--listen", f"unix:{path}")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            deadline = time.monotonic() + START_S
            while not path.exists() and server.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            server.send_signal(signal.SIGINT)
            _, stderr = server.communicate(timeout=PATIENCE_S)
        finally:
            if server.poll() is None:
                server.kill()
    assert server.returncode == 0, stderr
    assert "Traceback" not in stderr
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--listen", "0.0.0.0:1"), "other machines"),
        (("--listen", "somewhere"), "HOST:PORT"),
        (("--listen", "unix:"), "no path"),
        (("--tls-key", "x.pem"), "belong together"),
        (("--metrics", "0.0.0.0:1"), "must be on loopback"),
        (("--config", "none.toml"), "cannot be read"),
        (("--engine", "abacus"), "'abacus' is unknown"),
        (("--embedder", "no/such/encoder"), "no/such/encoder"),
        (("--tokens-file", "none.txt"), "none.txt cannot be read"),
    ],
    ids=str,
)
def test_a_flag_that_cannot_be(artifact: ModelArtifact, words: tuple[str, ...], part: str) -> None:
    engine = () if "--engine" in words else ("--engine", "transformers")
    assert part in refusal(2, "serve", "--model", artifact.folder, *engine, *words)


def test_its_log_goes_to_its_own_handler_alone(artifact: ModelArtifact) -> None:
    refusal(2, "serve", "--model", artifact.folder, "--engine", "abacus")
    assert not logging.getLogger("moesaic").propagate


def test_a_folder_that_is_no_artifact(tmp_path: Path) -> None:
    assert "moesaic.json" in refusal(3, "serve", "--model", tmp_path)
