"""AdamW with 8-bit moments (arXiv:2110.02861), from bitsandbytes: a quarter of the optimizer's memory.

Whether this machine's bitsandbytes can step on this machine's device is tried out once, on a small parameter, since
some of its builds have no kernel for a CPU and fail in the middle of the first step.
"""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from moesaic.errors import MissingDependencyError

__all__ = ["eight_bit_adamw"]

_ADVICE = "set optimizer.kind='adamw', or run where bitsandbytes has 8-bit optimizers (a CUDA, ROCm or XPU device)"


def eight_bit_adamw(groups: list[dict[str, Any]], **options: Any) -> Optimizer:
    """AdamW8bit of bitsandbytes over groups of parameters; options as in `torch.optim.AdamW`.

    Raises:
        MissingDependencyError: bitsandbytes is not installed, or has no 8-bit optimizer for this device.
    """
    try:
        from bitsandbytes.optim.adamw import AdamW8bit
    except ImportError as error:
        raise MissingDependencyError(
            f"the 8-bit optimizer needs bitsandbytes, which is not installed ({error}): pip install 'moesaic[train]', "
            "or set optimizer.kind='adamw'"
        ) from error
    device = groups[0]["params"][0].device
    trial = nn.Parameter(torch.ones(8192, device=device))
    trial.grad = torch.ones_like(trial)
    try:
        AdamW8bit([trial], lr=1e-3).step()
    except (RuntimeError, NotImplementedError, AttributeError, ValueError, AssertionError, KeyError) as error:
        raise MissingDependencyError(
            f"this bitsandbytes has no 8-bit optimizer for {device.type!r} ({type(error).__name__}: {error}): {_ADVICE}"
        ) from error
    if torch.equal(trial.detach(), torch.ones_like(trial)):
        raise MissingDependencyError(f"bitsandbytes' 8-bit optimizer does nothing on {device.type!r}: {_ADVICE}")
    optimizer: Optimizer = AdamW8bit(groups, **options)
    return optimizer
