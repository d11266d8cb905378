"""What a GPT-MoE is: its configuration, network, upcycling, quantization, checkpoint layout and canary.

Importing this package registers `gpt_moe` with transformers, so that `AutoConfig` and `AutoModelForCausalLM` know it.
"""

from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.config import GPTMoEConfig, pyramid

__all__ = ["GPTMoEConfig", "GPTMoEForCausalLM", "pyramid"]
