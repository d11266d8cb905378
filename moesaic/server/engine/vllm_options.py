"""What vLLM is told: its options, and the environment and first imports of the process that computes."""

import math
import os
from pathlib import Path
from typing import Any

from moesaic.artifact import ModelArtifact
from moesaic.errors import InputError, MissingDependencyError
from moesaic.server.engine.hardware import Machine
from moesaic.server.engine.kernels import Backend, ExpertsPlan, kernel_plan
from moesaic.server.engine.materialize import default_cache_folder, materialize
from moesaic.server.engine.runtime import engine_environment
from moesaic.server.engine.vllm_settings import VllmSettings
from moesaic.server.engine.worker_class import CPU_WORKER

__all__ = ["choose_artifact", "computes_on_cpu", "engine_options", "process_environment", "process_modules"]

_PROBE_WORKER = "moesaic.server.engine.probe_worker.ProbeWorker"
_SINGLE_PROCESS_EXECUTOR = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
_BLOCK_TOKENS = 128  # vLLM's block on a CPU; blocks of a GPU are smaller
_FIT_CACHE = -1  # vLLM then takes the longest context that the cache holds


def computes_on_cpu(machine: Machine) -> bool:
    """Whether the installed vLLM was built for a CPU."""
    return machine.vllm_target == "cpu"


def choose_artifact(artifact: ModelArtifact, settings: VllmSettings, machine: Machine) -> ModelArtifact:
    """Give the artifact itself, or its bf16 copy where this machine has no kernels for it; may take minutes once.

    Raises:
        MissingDependencyError: vLLM is not installed, or cannot run here.
        DamagedArtifactError: the artifact was to be copied, and does not match its digests.
        StorageError: there is no room for the copy.
    """
    plan = kernel_plan(
        artifact.manifest,
        machine,
        config=artifact.config(),
        force=settings.experts,
        dtype=settings.dtype,
        tensor_parallel=settings.tensor_parallel,
    )
    if plan.backend is not Backend.VLLM:
        raise MissingDependencyError(
            f"vLLM cannot serve {artifact.folder} here: {'; '.join((*plan.reasons, *plan.advice))}. "
            "TransformersEngine serves it without vLLM, one request at a time"
        )

    if plan.experts is ExpertsPlan.MATERIALIZE:
        return materialize(artifact, settings.cache_folder)

    return artifact


def engine_options(artifact: ModelArtifact, settings: VllmSettings, machine: Machine) -> dict[str, Any]:
    """Arguments of vLLM's `AsyncEngineArgs`.

    Raises `InputError` if the cache could not hold one sequence.
    """
    _check_cache(artifact, settings, settings.context_length or _BLOCK_TOKENS)
    options: dict[str, Any] = {
        "model": str(artifact.folder),
        "dtype": _dtype(artifact, settings),
        "max_model_len": settings.context_length or _FIT_CACHE,
        "max_num_seqs": settings.max_num_seqs,
        "max_num_batched_tokens": settings.max_num_batched_tokens,
        "max_num_queued_reqs": settings.max_queued_requests,
        # An explicit size spares the trial run that would measure how much is left.
        "kv_cache_memory_bytes": settings.kv_cache_bytes,
        "enable_prefix_caching": settings.prefix_caching,
        "scheduling_policy": "priority",
        "enforce_eager": not settings.compile,
        "tensor_parallel_size": settings.tensor_parallel,
        "enable_lora": False,
        # One backend for all requests, chosen here: by itself vLLM takes the one that suits its first request for all
        # later ones. Whitespace is free to repeat in JSON, and small models then write nothing else.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "worker_extension_cls": _PROBE_WORKER,
        "trust_remote_code": False,
        "seed": 0,
    }
    if computes_on_cpu(machine):
        options["worker_cls"] = CPU_WORKER
        if settings.tensor_parallel == 1:
            options["distributed_executor_backend"] = _SINGLE_PROCESS_EXECUTOR
    return options


def _check_cache(artifact: ModelArtifact, settings: VllmSettings, context_length: int) -> None:
    """Refuse a cache that could not hold one sequence; vLLM would say so too, but after loading the model."""
    config, facts = artifact.config(), artifact.manifest.architecture
    heads = int(config.get("num_key_value_heads") or config.get("num_attention_heads") or 1)
    width = int(config.get("head_dim") or facts.hidden_size // int(config.get("num_attention_heads") or 1))
    share = max(1, heads // settings.tensor_parallel) * width
    bytes_per_element = 4 if _dtype(artifact, settings) == "float32" else 2
    bytes_per_token = 2 * facts.num_hidden_layers * share * bytes_per_element
    # Whole blocks, and one more that vLLM keeps for itself.
    needed = (math.ceil(context_length / _BLOCK_TOKENS) + 1) * _BLOCK_TOKENS * bytes_per_token
    if settings.kv_cache_bytes < needed:
        raise InputError(
            f"kv_cache_bytes={settings.kv_cache_bytes} cannot hold one sequence of {context_length} tokens, "
            f"{bytes_per_token} bytes each: give it at least {needed}, or the engine a smaller context_length"
        )


def _dtype(artifact: ModelArtifact, settings: VllmSettings) -> str:
    return artifact.manifest.architecture.dtype if settings.dtype == "auto" else settings.dtype


def process_environment(settings: VllmSettings, machine: Machine, temporary_folder: Path) -> dict[str, str]:
    """The whole environment of the computing process: ours, what speed needs, and quiet defaults."""
    defaults = {
        # Compiled code is kept, unlike everything else that is temporary.
        "TORCHINDUCTOR_CACHE_DIR": str(default_cache_folder().parent / "compiled"),
        "VLLM_NO_USAGE_STATS": "1",  # what is served here is nobody else's business
        "VLLM_HOST_IP": "127.0.0.1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    fixed = {
        "TMPDIR": str(temporary_folder),
        "VLLM_CONFIGURE_LOGGING": "1",  # its output is a log file
        # What vLLM would set in this process for the children that it starts; this child starts before.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    }
    if computes_on_cpu(machine) and not settings.compile:
        # vLLM compiles the ranking of log-probabilities even in eager mode, at the first request that asks for them:
        # seconds of a C++ compiler, and without one the engine dies.
        fixed["TORCH_COMPILE_DISABLE"] = "1"
    return {**defaults, **os.environ, **engine_environment(machine, settings), **fixed}


def process_modules(artifact: ModelArtifact, machine: Machine) -> list[str]:
    """What the computing process imports while it waits for its work."""
    modules = ["vllm.v1.engine.core"]
    if computes_on_cpu(machine):
        modules.append(CPU_WORKER.rpartition(".")[0])
    else:
        modules.append("vllm.v1.worker.gpu_worker")
    if artifact.manifest.architecture.model_type == "gpt_moe":
        modules.append("moesaic.server.engine.vllm_model")
    else:
        modules.append("vllm.model_executor.models.llama")
    return modules
