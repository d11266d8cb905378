"""Seeded requests on vLLM's CPU worker: made safe and reproducible.

vLLM 0.32 draws a token for every row of a step, also for a prompt of which only a part was computed; that token is
discarded, and the draw is taken back by moving the generator's offset by 4. CPU generators have no offset: the call
raises, and the engine dies. A seeded prompt longer than the token budget of one step is enough to stop the server for
everyone.

The remedy is not to draw: while tokens are sampled, the generators of unfinished prompts are put aside. Their rows are
drawn from the process's own generator, whose value nobody uses, so a seeded request draws its first number for its
first token, however the prompt was cut. This is a worker class of ours, by vLLM's own setting `worker_cls`:

- `VllmEngine` names it directly.
- `use_seed_safe_worker()` makes it the CPU default of the process that calls it; our plug-in calls it, so that vLLM's
  own server is safe as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["CPU_WORKER", "unfinished_prompts_set_aside", "use_seed_safe_worker"]

CPU_WORKER = "moesaic.server.engine.seed_safe_worker.SeedSafeCPUWorker"
"""Name of the worker class, for vLLM's `worker_cls`."""

_VLLM_CPU_WORKER = "vllm.v1.worker.cpu_worker.CPUWorker"


@contextmanager
def unfinished_prompts_set_aside(runner: Any) -> Iterator[None]:
    """Hide, for the block, the generators of rows whose prompt is not complete after this step.

    Args:
        runner: vLLM's V1 model runner, between a forward pass and the sampling of its tokens.
    """
    batch = runner.input_batch
    unfinished = runner.discard_request_mask.np[: batch.num_reqs].nonzero()[0]
    aside = {int(row): batch.generators.pop(int(row)) for row in unfinished if int(row) in batch.generators}
    try:
        yield
    finally:
        # Rows keep their places while tokens are sampled; vLLM moves them at the start of a step.
        batch.generators.update(aside)


def use_seed_safe_worker() -> None:
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
