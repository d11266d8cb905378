"""While tokens are sampled, generators of unfinished prompts are out of reach, and back in their places afterwards."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moesaic.server.engine.seeds import unfinished_prompts_set_aside


def runner(unfinished: list[bool], seeded: list[int]) -> SimpleNamespace:
    """The part of vLLM's model runner that matters; its buffers are longer than the batch."""
    mask = np.zeros(8, dtype=bool)
    mask[: len(unfinished)] = unfinished
    mask[len(unfinished) :] = True
    generators = {row: torch.Generator().manual_seed(row) for row in seeded}
    return SimpleNamespace(
        input_batch=SimpleNamespace(num_reqs=len(unfinished), generators=generators),
        discard_request_mask=SimpleNamespace(np=mask),
    )


def test_only_unfinished_prompts_are_set_aside() -> None:
    batch = runner([True, False, True, False], seeded=[0, 1, 3])
    before = dict(batch.input_batch.generators)
    with unfinished_prompts_set_aside(batch):
        assert set(batch.input_batch.generators) == {1, 3}

    assert batch.input_batch.generators == before


def test_an_error_while_sampling_loses_no_generator() -> None:
    batch = runner([True], seeded=[0])
    with pytest.raises(RuntimeError, match="sampling"), unfinished_prompts_set_aside(batch):
        raise RuntimeError("sampling")

    assert set(batch.input_batch.generators) == {0}


def test_a_cpu_generator_still_has_no_offset() -> None:
    """The reason for all this; when it fails, torch has changed and the worker class may go."""
    with pytest.raises(RuntimeError, match="does not use offset"):
        torch.Generator().get_offset()
