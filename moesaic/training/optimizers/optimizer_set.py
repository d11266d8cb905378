"""Several optimizers as one: a learning-rate factor for all, and a state that is saved by parameter name.

`torch.optim` numbers the parameters in its state by their order in the groups: a state saved so is silently assigned to
other parameters when the order changes. Here each tensor carries its parameter's name.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from moesaic.errors import DamagedRunError

__all__ = ["OptimizerSet"]

_SEPARATOR = "::"


class OptimizerSet:
    """Optimizers with their peak learning rates, and the names of all parameters by id."""

    def __init__(self, optimizers: Sequence[tuple[Optimizer, float]], names: Mapping[int, str]) -> None:
        self._optimizers = list(optimizers)
        self._names = dict(names)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """All parameters that are trained."""
        return [parameter for _, parameter in self._parameters()]

    def named_parameters(self) -> dict[str, torch.Tensor]:
        """All parameters that are trained, by name."""
        return {self._names[id(parameter)]: parameter for _, parameter in self._parameters()}

    def learning_rate(self, factor: float) -> float:
        """Set every learning rate to `factor` times its peak; returns the first optimizer's."""
        for optimizer, peak in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
        return self._optimizers[0][1] * factor

    def step(self) -> None:
        """One update of every parameter."""
        for optimizer, _ in self._optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer, _ in self._optimizers:
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, torch.Tensor]:
        """Every tensor and number of the state, as `parameter::entry`."""
        found = {}
        for optimizer, parameter in self._parameters():
            for entry, value in optimizer.state.get(parameter, {}).items():
                tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value)
                found[f"{self._names[id(parameter)]}{_SEPARATOR}{entry}"] = tensor
        return found

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go back to what `state` returned; raises `DamagedRunError` for a parameter that is not trained here."""
        by_name = {self._names[id(parameter)]: (optimizer, parameter) for optimizer, parameter in self._parameters()}
        for optimizer, _ in self._optimizers:
            optimizer.state.clear()
        for key, value in state.items():
            name, _, entry = key.rpartition(_SEPARATOR)
            if name not in by_name:
                raise DamagedRunError(
                    f"the checkpoint has a moment {entry!r} of {name!r}, which is not trained here: "
                    "resume with the recipe that the run was started with"
                )
            optimizer, parameter = by_name[name]
            number = value.dim() == 0 and not value.is_floating_point()
            optimizer.state[parameter][entry] = int(value) if number else value.clone()

    def _parameters(self) -> Iterator[tuple[Optimizer, Any]]:
        for optimizer, _ in self._optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield optimizer, parameter
