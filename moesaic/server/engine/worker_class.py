"""Which worker class vLLM runs on a CPU: ours, by vLLM's own setting `worker_cls`.

- `VllmEngine` names it directly.
- `use_moesaic_worker()` makes it the CPU default of the process that calls it; our plug-in calls it, so that vLLM's
  own server is safe and fast as well.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["CPU_WORKER", "use_moesaic_worker"]

CPU_WORKER = "moesaic.server.engine.cpu_worker.MoesaicCPUWorker"
"""Name of the worker class, for vLLM's `worker_cls`."""

_VLLM_CPU_WORKER = "vllm.v1.worker.cpu_worker.CPUWorker"


def use_moesaic_worker() -> None:
    """Let every engine that this process configures for a CPU use our worker instead of vLLM's own; re-entrant."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu() or "check_and_update_config" in vars(current_platform):
        return

    original = current_platform.check_and_update_config

    def check_and_update_config(vllm_config: "VllmConfig") -> None:
        original(vllm_config)
        if vllm_config.parallel_config.worker_cls == _VLLM_CPU_WORKER:
            vllm_config.parallel_config.worker_cls = CPU_WORKER

    current_platform.check_and_update_config = check_and_update_config
