"""The random state of a process (torch, numpy, Python) as JSON values: a resumed run draws the same numbers."""

import base64
import random
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch

from moesaic.errors import DamagedRunError

__all__ = ["random_state", "restore_random_state", "seed_everything"]


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def random_state() -> dict[str, Any]:
    """The state of all generators."""
    # numpy's annotation of this tuple is that of another form.
    kind, keys, place, has_gauss, gauss = cast(tuple[str, Any, int, int, float], np.random.get_state())
    state: dict[str, Any] = {
        "torch": _encoded(torch.get_rng_state()),
        "numpy": [kind, keys.tolist(), place, has_gauss, gauss],
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        state["cuda"] = [_encoded(tensor) for tensor in torch.cuda.get_rng_state_all()]
    return state


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Go back to what `random_state` returned; raises `DamagedRunError` if it is none."""
    try:
        torch.set_rng_state(_decoded(state["torch"]))
        kind, keys, place, has_gauss, gauss = state["numpy"]
        np.random.set_state((kind, np.array(keys, dtype=np.uint32), place, has_gauss, gauss))
        version, numbers, following = state["python"]
        random.setstate((version, tuple(numbers), following))
        if torch.cuda.is_available() and "cuda" in state:
            torch.cuda.set_rng_state_all([_decoded(text) for text in state["cuda"]])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DamagedRunError(f"the saved random state is damaged ({error}): resume from another checkpoint") from error


def _encoded(tensor: torch.Tensor) -> str:
    return base64.b64encode(tensor.numpy().tobytes()).decode("ascii")


def _decoded(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
