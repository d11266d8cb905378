"""Small models that the commands work on, made once."""

from pathlib import Path

import pytest

from moesaic.model import conversion
from moesaic.model.upcycling import UpcycleOptions
from tests.model.tiny_dense import tiny_model
from tests.server.engine.tiny_artifact import write_tokenizer


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of four layers in several shards, with a tokenizer and a chat template."""
    folder = tmp_path_factory.mktemp("bases") / "llama"
    model = tiny_model(
        "llama",
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=256,
    )
    model.save_pretrained(folder, max_shard_size="100KB")
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def moe(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-MoE of that Llama, in fp32. Tests copy it before they change it."""
    target = tmp_path_factory.mktemp("artifacts") / "moe"
    conversion.upcycle(str(base), target, UpcycleOptions(experts=2, experts_last=4, last=1), dtype="float32")
    return target
