"""Tiny models for the tests of `moesaic.model`: random weights, every expert different, the pyramid 4 and 8."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.config import GPTMoEConfig


@pytest.fixture
def tiny_config() -> GPTMoEConfig:
    """Four layers, the mixtures 4 and 8 experts, grouped-query attention."""
    return GPTMoEConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        num_experts_per_layer=[0, 4, 0, 8],
        initializer_range=0.2,
        tie_word_embeddings=True,
    )


@pytest.fixture
def tiny_model(tiny_config: GPTMoEConfig) -> GPTMoEForCausalLM:
    """A random model of that configuration, with a balancing bias that matters."""
    torch.manual_seed(7)
    model = GPTMoEForCausalLM(tiny_config).eval()
    for mixture in model.mixtures:
        mixture.gate.bias.normal_(std=0.5)
    return model


@pytest.fixture
def tokens() -> torch.Tensor:
    """Two sequences of twelve tokens."""
    return torch.randint(0, 320, (2, 12), generator=torch.Generator().manual_seed(3))


FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True},
    "mistral": {"architectures": ["MistralForCausalLM"], "sliding_window": None, "head_dim": 32},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": True, "use_sliding_window": False},
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], "head_dim": 32, "use_sliding_window": False},
}


def write_tokenizer(folder: Path, vocab_size: int) -> None:
    """A byte-level tokenizer with an end token, enough for any text."""
    alphabet = sorted(ByteLevel.alphabet())
    vocabulary = {token: rank for rank, token in enumerate([*alphabet, "<|end|>"])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    assert len(fast) <= vocab_size
    fast.save_pretrained(folder)


def write_dense(folder: Path, family: str) -> Path:
    """A random model of a dense family with a tokenizer."""
    torch.manual_seed(11)
    config = AutoConfig.for_model(
        family,
        vocab_size=320,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=256,
        **FAMILIES[family],
    )
    model = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    write_tokenizer(folder, 320)
    return folder


@pytest.fixture(params=sorted(FAMILIES))
def dense_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A random model of each dense family."""
    return write_dense(tmp_path / request.param, request.param)


@pytest.fixture
def llama_folder(tmp_path: Path) -> Path:
    """A random Llama."""
    return write_dense(tmp_path / "llama", "llama")


@pytest.fixture
def single_thread() -> Iterator[None]:
    """One thread: tiny tensors are slower on more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
