"""A tiny GPT-MoE whose routers disagree, and batches for it."""

import pytest
import torch

from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.config import GPTMoEConfig


@pytest.fixture
def model() -> GPTMoEForCausalLM:
    """Three layers, mixtures of 4 and 3 experts, norms with gains other than 1, biases that matter."""
    torch.manual_seed(5)
    config = GPTMoEConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        num_experts_per_layer=[0, 4, 3],
        initializer_range=0.2,
        tie_word_embeddings=True,
    )
    model = GPTMoEForCausalLM(config).train()
    for mixture in model.mixtures:
        mixture.gate.bias.normal_(std=0.3)
    for layer in model.model.layers:
        layer.post_attention_layernorm.weight.data.uniform_(0.5, 3.0)
    return model
