"""What vLLM is told, for machines that are described and not there. The GPU rows were never run on a GPU."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moesaic.artifact import ModelArtifact
from moesaic.errors import InputError, MissingDependencyError
from moesaic.server.engine.vllm_options import choose_artifact, engine_options, process_environment, process_modules
from moesaic.server.engine.vllm_settings import VllmSettings
from tests.server.engine.machines import MACHINES

CPU, GPU = MACHINES["avx512"], MACHINES["gpu"]


def test_a_cpu_computes_in_one_process_with_safe_seeds(tiny_artifact: ModelArtifact) -> None:
    options = engine_options(tiny_artifact, VllmSettings(), CPU)
    assert options["worker_cls"].endswith("MoesaicCPUWorker")
    assert options["distributed_executor_backend"].endswith("UniProcExecutor")
    shared = engine_options(tiny_artifact, VllmSettings(tensor_parallel=2), CPU)
    assert "distributed_executor_backend" not in shared
    assert shared["worker_cls"] == options["worker_cls"]


def test_a_gpu_keeps_vllm_s_own_worker(tiny_artifact: ModelArtifact) -> None:
    options = engine_options(tiny_artifact, VllmSettings(), GPU)
    assert {"worker_cls", "distributed_executor_backend"}.isdisjoint(options)
    assert process_modules(tiny_artifact, GPU)[1] == "vllm.v1.worker.gpu_worker"


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
def test_what_holds_everywhere(tiny_artifact: ModelArtifact, machine: Any) -> None:
    options = engine_options(tiny_artifact, VllmSettings(kv_cache_bytes=123456789), machine)
    assert options["kv_cache_memory_bytes"] == 123456789
    assert options["enable_lora"] is False
    assert options["trust_remote_code"] is False
    assert options["enforce_eager"] is True
    assert options["dtype"] == "float32"
    compiled = engine_options(tiny_artifact, VllmSettings(compile=True, dtype="bfloat16"), machine)
    assert compiled["enforce_eager"] is False
    assert compiled["dtype"] == "bfloat16"


def test_a_cache_too_small_is_refused_with_the_size_that_suffices(tiny_artifact: ModelArtifact) -> None:
    # 4 layers, keys and values, 1 head of 32, 4 bytes: 1024 bytes a token, in blocks of 128 and one to spare.
    enough = (256 + 128) * 1024
    engine_options(tiny_artifact, VllmSettings(kv_cache_bytes=enough, context_length=256), CPU)
    with pytest.raises(InputError, match=f"kv_cache_bytes={enough - 1} .*256 tokens, 1024 bytes each.*{enough}"):
        engine_options(tiny_artifact, VllmSettings(kv_cache_bytes=enough - 1, context_length=256), CPU)

    with pytest.raises(InputError, match="kv_cache_bytes=1000"):
        engine_options(tiny_artifact, VllmSettings(kv_cache_bytes=1000), CPU)


def test_the_computing_process_is_private_and_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "0")
    monkeypatch.setenv("VLLM_CONFIGURE_LOGGING", "0")
    for name in ("VLLM_HOST_IP", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    environment = process_environment(VllmSettings(), CPU, tmp_path)
    assert environment["VLLM_HOST_IP"] == "127.0.0.1"
    assert environment["VLLM_NO_USAGE_STATS"] == "0", "what the user set stays"
    assert environment["VLLM_CONFIGURE_LOGGING"] == "1", "its output is a file"
    assert environment["TMPDIR"] == str(tmp_path)
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["TORCH_COMPILE_DISABLE"] == "1"
    assert "TORCH_COMPILE_DISABLE" not in process_environment(VllmSettings(compile=True), CPU, tmp_path)
    assert "TORCH_COMPILE_DISABLE" not in process_environment(VllmSettings(), GPU, tmp_path)


def test_an_artifact_without_vllm_is_refused_with_the_way_out(tiny_artifact: ModelArtifact) -> None:
    assert choose_artifact(tiny_artifact, VllmSettings(), CPU) is tiny_artifact
    with pytest.raises(MissingDependencyError, match=r"vLLM is not installed.*\[cpu\].*TransformersEngine"):
        choose_artifact(tiny_artifact, VllmSettings(), MACHINES["no vllm"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_num_seqs", 0),
        ("max_num_batched_tokens", 31),
        ("max_queued_requests", 0),
        ("kv_cache_bytes", 0),
        ("tensor_parallel", 0),
        ("context_length", 1),
        ("dtype", "int8"),
        ("experts", "fp8"),
        ("start_timeout_s", 0.0),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=field):
        replace(VllmSettings(), **{field: value})
