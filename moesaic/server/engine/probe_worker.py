"""What vLLM's workers, on a CPU or a GPU, learn for the canary: one mixture layer for itself, without a request.

vLLM adds this class to its worker class, by its setting `worker_extension_cls`, and imports it by name where the model
runs.
"""

from collections.abc import Sequence
from typing import Any

from vllm.config import set_current_vllm_config
from vllm.forward_context import get_forward_context, set_forward_context

from moesaic.model.probes import run_probe

__all__ = ["ProbeWorker"]


class ProbeWorker:
    """Base class that vLLM's worker gets beside its own."""

    model_runner: Any
    vllm_config: Any

    def run_expert_probes(self, requests: Sequence[tuple[int, int, Sequence[int]]]) -> list[list[list[float]]]:
        """Projections of what the layers give; see `moesaic.model.probes.run_probe`.

        With tensor parallelism every rank computes its part, and every rank returns the same sum.

        Args:
            requests: for each probe the index of the layer, the seed of its inputs, and the rows that are used.
        """
        layers = self.model_runner.get_model().model.layers
        options = {
            "hidden_size": self.vllm_config.model_config.get_hidden_size(),
            "dtype": self.vllm_config.model_config.dtype,
            "device": self.model_runner.device,
        }
        observed = []
        with set_current_vllm_config(self.vllm_config):
            for layer, seed, tokens in requests:
                with set_forward_context(None, self.vllm_config, num_tokens=len(tokens)):
                    # A whole forward pass takes the layers by turns; a single one must go by its name.
                    get_forward_context().all_moe_layers = None
                    observed.append(run_probe(layers[layer].mlp, seed, tokens, **options))
        return observed
