"""`GPTMoEForCausalLM`: the language model, its loss with router terms, and loading from and saving to artifacts.

Loading and saving go through `moesaic.model.checkpoint`, the only place that knows both the names on disk and those in
memory. A quantized folder is dequantized by our own unpacker; a folder with a missing, superfluous or misshapen tensor
is refused, so that no weight is ever left as it was initialised.
"""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.generation import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import MoeCausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from moesaic.model.balance import expert_load, router_losses
from moesaic.model.checkpoint import disk_tensors, load_folder
from moesaic.model.config import GPTMoEConfig
from moesaic.model.decoder import GPTMoEModel, GPTMoEPreTrainedModel
from moesaic.model.mixture import ResidualMixture

__all__ = ["GPTMoEForCausalLM"]


class GPTMoEForCausalLM(GPTMoEPreTrainedModel, GenerationMixin):
    """Decoder with a language-model head. Shapes: B batch, S sequence, V vocabulary."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: GPTMoEConfig) -> None:
        super().__init__(config)
        self.model = GPTMoEModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self._load_since_step: list[torch.Tensor] | None = None
        self.post_init()

    @property
    def mixtures(self) -> list[ResidualMixture]:
        """The mixture layers, first to last."""
        return [layer.mlp for layer in self.model.layers if isinstance(layer.mlp, ResidualMixture)]

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        output_router_logits: bool | None = None,
        **kwargs: Any,
    ) -> MoeCausalLMOutputWithPast:
        """Next-token logits [B, S, V]; with `labels` [B, S] also the loss.

        While training (or with `output_router_logits`) the router's logits are returned, one [B * S, E] tensor per
        mixture. Where the model itself makes the loss (`labels`, or `output_router_logits`), `aux_loss` =
        router_aux_loss_coef * balance + router_z_loss_coef * z is part of it, and while training the tokens of each
        expert are counted for `balance_experts`. A loop with a loss of its own takes both from `router_logits`.
        """
        wants_router = self.config.output_router_logits if output_router_logits is None else output_router_logits
        records = bool(self.mixtures) and (wants_router or self.training)
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, output_router_logits=records, **kwargs)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept, :])

        loss = aux_loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        if records and (wants_router or labels is not None):
            aux_loss = self._router_loss(outputs.router_logits, attention_mask)
            loss = loss + aux_loss.to(loss.device) if loss is not None else None
        return MoeCausalLMOutputWithPast(
            loss=loss,
            aux_loss=aux_loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            router_logits=outputs.router_logits if records else None,
        )

    def _router_loss(self, logits: tuple[torch.Tensor, ...], attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Weighted router losses; counts the tokens of each expert for `balance_experts` while training.

        The count is taken here, once per forward pass, so that activation checkpointing cannot count twice.
        """
        mask_T = None
        if attention_mask is not None and attention_mask.dim() == 2:
            # With a cache the mask also covers earlier tokens; the router saw the last ones only.
            mask_T = attention_mask[:, -(logits[0].shape[0] // attention_mask.shape[0]) :].reshape(-1)
        indices = [mixture.gate.select(z) for mixture, z in zip(self.mixtures, logits, strict=True)]
        if self.training:
            loads = [expert_load(i, z.shape[-1], mask_T) for i, z in zip(indices, logits, strict=True)]
            former = self._load_since_step
            self._load_since_step = loads if former is None else [a + b for a, b in zip(former, loads, strict=True)]
        losses = router_losses(logits, indices, mask_T)
        return self.config.router_aux_loss_coef * losses.balance + self.config.router_z_loss_coef * losses.z

    def take_expert_loads(self) -> list[torch.Tensor]:
        """Tokens per expert, one [E] tensor per mixture, since the last call; resets the count.

        Sum them over processes before giving them to `balance_experts`.
        """
        loads = self._load_since_step
        self._load_since_step = None
        return loads if loads is not None else [torch.zeros(m.gate.num_experts) for m in self.mixtures]

    def balance_experts(self, loads: list[torch.Tensor]) -> None:
        """After an optimizer step, move every balancing bias by `router_bias_update_rate`."""
        for mixture, load_E in zip(self.mixtures, loads, strict=True):
            if load_E.sum() > 0:
                mixture.gate.balance(load_E, self.config.router_bias_update_rate)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *args: Any, **kwargs: Any
    ) -> Any:
        """Load an artifact or any folder in Moesaic's layout; arguments as in transformers.

        Raises `DamagedArtifactError` for missing, superfluous or misshapen tensors and `SchemeError` for a
        quantization that our unpacker does not know. Quantized weights come back dequantized (bf16 by default).
        """
        if pretrained_model_name_or_path is None or kwargs.get("state_dict") is not None:
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        folder, config, state = load_folder(pretrained_model_name_or_path, kwargs)
        wants_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(
            None, *args, config=config, state_dict=state, output_loading_info=True, **kwargs
        )
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            assert not info[kind], f"{kind} after our own mapping: {sorted(info[kind])[:5]}"
        model.config.name_or_path = model.name_or_path = str(pretrained_model_name_or_path)
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(folder)
        return (model, info) if wants_info else model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        """Save in the one layout on disk; arguments as in transformers."""
        natural = self.state_dict() if state_dict is None else state_dict
        super().save_pretrained(save_directory, state_dict=dict(disk_tensors(natural, self.config)), **kwargs)


AutoModelForCausalLM.register(GPTMoEConfig, GPTMoEForCausalLM, exist_ok=True)
