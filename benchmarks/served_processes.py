"""Servers in processes of their own, for benchmarks: `moesaic serve`, and vLLM's OpenAI server with the same engine.

Both engines are configured alike (threads, worker, one computing process, cache, no prefix cache), so that what differs
is the way to them.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moesaic.artifact import ModelArtifact
from moesaic.server.engine import VllmSettings
from moesaic.server.engine.hardware import Machine
from moesaic.server.engine.runtime import engine_environment
from moesaic.server.engine.vllm_options import engine_options

__all__ = ["HTTP_MODEL", "ServedProcess", "grpc_server", "http_server"]

HTTP_MODEL = "model"
_START_S = 300.0


@dataclass(frozen=True, kw_only=True)
class ServedProcess:
    """A running server."""

    target: str
    """Where clients find it."""
    process_id: int
    """Its front end."""


@contextmanager
def grpc_server(artifact: ModelArtifact, settings: VllmSettings, *flags: str) -> Iterator[ServedProcess]:
    """Have `moesaic serve` run for the block, on a Unix socket or on loopback, as users do."""
    with tempfile.TemporaryDirectory(prefix="moesaic-bench-") as folder:
        config = Path(folder) / "moesaic.toml"
        config.write_text(
            "[engine]\n"
            f"max_num_seqs = {settings.max_num_seqs}\n"
            f"max_num_batched_tokens = {settings.max_num_batched_tokens}\n"
            f"kv_cache_bytes = {settings.kv_cache_bytes}\n"
            f"prefix_caching = {str(settings.prefix_caching).lower()}\n"
        )
        target = f"127.0.0.1:{_free_port()}"
        command = [str(Path(sys.executable).with_name("moesaic")), "serve", "--model", str(artifact.folder)]
        command += ["--config", str(config), "--listen", target, *flags]
        log = Path(folder) / "server.log"
        with _running(command, dict(os.environ), log) as process:
            _wait(process, log, lambda: "serving" in log.read_text(errors="replace"))
            yield ServedProcess(target=target, process_id=process.pid)


@contextmanager
def http_server(artifact: ModelArtifact, settings: VllmSettings, machine: Machine) -> Iterator[ServedProcess]:
    """Have vLLM's OpenAI server run for the block."""
    port = _free_port()
    options = engine_options(artifact, settings, machine)
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(artifact.folder)]
    command += ["--served-model-name", HTTP_MODEL, "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--max-num-seqs", str(settings.max_num_seqs), "--no-enable-prefix-caching"]
    command += ["--max-num-batched-tokens", str(settings.max_num_batched_tokens)]
    command += ["--kv-cache-memory-bytes", str(settings.kv_cache_bytes), "--scheduling-policy", "priority"]
    command += ["--dtype", str(options["dtype"]), "--uvicorn-log-level", "warning", "--disable-uvicorn-access-log"]
    for flag, name in (
        ("--worker-cls", "worker_cls"),
        ("--distributed-executor-backend", "distributed_executor_backend"),
    ):
        if name in options:
            command += [flag, str(options[name])]
    environment = {**os.environ, **engine_environment(machine, settings), "TORCH_COMPILE_DISABLE": "1"}
    with tempfile.TemporaryDirectory(prefix="moesaic-bench-") as folder:
        log = Path(folder) / "server.log"
        base = f"http://127.0.0.1:{port}"
        with _running(command, environment, log) as process:
            _wait(process, log, lambda: _answers(f"{base}/health"))
            yield ServedProcess(target=base, process_id=process.pid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: Sequence[str], environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        for number, patience_s in ((signal.SIGTERM, 40.0), (signal.SIGKILL, 10.0)):
            try:
                os.killpg(process.pid, number) if number == signal.SIGKILL else process.send_signal(number)
                process.wait(patience_s)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _wait(process: "subprocess.Popen[bytes]", log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False
