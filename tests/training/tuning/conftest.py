"""Tiny models for the tests of tuning."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.config import GPTMoEConfig
from tests.training.tiny_run import one_thread
from tests.training.tuning.tiny_encoder import write_encoder


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    """One thread: tiny tensors are slower on more."""
    with one_thread():
        yield


@pytest.fixture
def make_model() -> Callable[[], GPTMoEForCausalLM]:
    """Equal models: four layers, mixtures of 4 and 8 experts with a residual MLP, a tied head."""

    def make() -> GPTMoEForCausalLM:
        torch.manual_seed(7)
        config = GPTMoEConfig(
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
        return GPTMoEForCausalLM(config).eval()

    return make


@pytest.fixture
def model(make_model: Callable[[], GPTMoEForCausalLM]) -> GPTMoEForCausalLM:
    """One of them."""
    return make_model()


@pytest.fixture
def tokens() -> torch.Tensor:
    """Three sequences of twenty tokens."""
    return torch.randint(0, 320, (3, 20), generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder, for classifiers of pairs."""
    return write_encoder(tmp_path_factory.mktemp("encoder"))
