"""Seeded requests on vLLM's CPU worker: made safe and reproducible.

vLLM 0.32 draws a token for every row of a step, also for a prompt of which only a part was computed; that token is
discarded, and the draw is taken back by moving the generator's offset by 4. CPU generators have no offset: the call
raises, and the engine dies. A seeded prompt longer than the token budget of one step is enough to stop the server for
everyone.

The remedy is not to draw: while tokens are sampled, the generators of unfinished prompts are put aside. Their rows are
drawn from the process's own generator, whose value nobody uses, so a seeded request draws its first number for its
first token, however the prompt was cut. Our worker class does so (`cpu_worker`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["unfinished_prompts_set_aside"]


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
