"""What one training step sees, and where it comes from.

Shapes: B rows, S positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

__all__ = ["IGNORED", "Batch", "BatchSource"]

IGNORED = -100
"""Label of a position that no loss is taken at, as in `torch.nn.functional.cross_entropy`."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of packed documents."""

    input_ids_BS: torch.Tensor
    """Token ids, int64."""
    labels_BS: torch.Tensor
    """The same ids, int64, `IGNORED` where nothing is to be learnt; not shifted: the model shifts them."""
    documents_BS: torch.Tensor
    """Which document of its row a token belongs to, int64, 0, 1, … ; -1 for padding. Tokens see their own one only."""


class BatchSource(Protocol):
    """An endless, resumable stream of batches.

    Two sources with equal state give equal batches for ever: that is what makes an interrupted run exact.
    """

    def next(self) -> Batch:
        """The next batch."""
        ...

    def state(self) -> dict[str, Any]:
        """The position, as JSON values."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a position that `state` returned."""
        ...
