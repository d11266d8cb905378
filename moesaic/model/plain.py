"""An artifact as an ordinary transformers model: dequantized weights, evaluation mode."""

from pathlib import Path

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, GenerationConfig, PreTrainedModel

from moesaic.errors import DamagedArtifactError
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.checkpoint import open_weights
from moesaic.model.config import GPTMoEConfig

__all__ = ["load_plain"]


def load_plain(folder: Path, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Load the model of an artifact, GPT-MoE or dense, plain or quantized.

    Raises `DamagedArtifactError` for missing, superfluous or misshapen tensors and `SchemeError` for a quantization
    that our unpacker does not know.
    """
    config = AutoConfig.from_pretrained(folder)
    if isinstance(config, GPTMoEConfig):
        return GPTMoEForCausalLM.from_pretrained(folder, dtype=dtype)
    source = open_weights(folder, config.to_dict(), dtype)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    state = {name: source.read(name) for name in source.names}
    model, info = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].from_pretrained(
        None, config=config, state_dict=state, dtype=dtype, output_loading_info=True
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            raise DamagedArtifactError(
                f"{folder} has {kind}: {sorted(map(str, info[kind]))[:5]}; make the artifact again"
            )
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model.eval()
