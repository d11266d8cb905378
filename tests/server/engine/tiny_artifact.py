"""A tiny perturbed GPT-MoE as an artifact: the pyramid 4 and 8, every expert different, a tokenizer of bytes."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from moesaic.artifact import ArchitectureFacts, ArtifactWriter, Licence, Lineage, ModelArtifact
from moesaic.model.canary import make_canary
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.config import GPTMoEConfig

__all__ = ["CONTEXT_LENGTH", "END", "VOCAB_SIZE", "write_artifact", "write_tokenizer"]

VOCAB_SIZE = 320
CONTEXT_LENGTH = 4096
END = 256

_EXPERTS = [0, 4, 0, 8]
_CANARY = (tuple(range(20, 60)), tuple(range(200, 160, -1)), tuple("合同双方应当".encode()))


def write_artifact(target: Path, *, dtype: torch.dtype = torch.float32, **variant: Any) -> ModelArtifact:
    """Write the artifact; its sizes suit every kernel of vLLM on a CPU. `variant` sets further configuration fields."""
    torch.manual_seed(7)
    config = GPTMoEConfig(
        **variant,
        vocab_size=VOCAB_SIZE,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=len(_EXPERTS),
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT_LENGTH,
        num_experts_per_layer=_EXPERTS,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END,
    )
    model = GPTMoEForCausalLM(config).eval().to(dtype)
    for mixture in model.mixtures:
        mixture.gate.bias.normal_(std=0.5)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    with ArtifactWriter(target) as writer:
        model.save_pretrained(writer.folder)
        write_tokenizer(writer.folder)
        return writer.commit(
            name="tiny",
            architecture=ArchitectureFacts(
                model_type="gpt_moe",
                architecture="GPTMoEForCausalLM",
                parameters_total=parameters,
                parameters_active=parameters,
                num_hidden_layers=len(_EXPERTS),
                hidden_size=64,
                vocab_size=VOCAB_SIZE,
                context_length=CONTEXT_LENGTH,
                experts_per_layer=tuple(_EXPERTS),
                dtype=str(dtype).removeprefix("torch."),
            ),
            lineage=Lineage(
                operation="random",
                base="none",
                parent=None,
                options={},
                created="2026-02-03T04:05:06Z",
                moesaic_version="0.1.0",
            ),
            licence=Licence(name=None, file=None),
            canary=make_canary(writer.folder, _CANARY, dtype=str(dtype).removeprefix("torch.")),
        )


def write_tokenizer(folder: Path) -> None:
    """Write a byte-level tokenizer: tokens 0 to 255 are bytes in the order of their characters, 256 ends a text."""
    vocabulary = {token: rank for rank, token in enumerate([*sorted(ByteLevel.alphabet()), "<|end|>"])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.chat_template = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    fast.save_pretrained(folder)
