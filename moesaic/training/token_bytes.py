"""How many bytes of text each token stands for, so that losses per token become bits per byte.

Two spellings of tokens are known: byte-level ones, where each character stands for one byte, and those with the visible
blank `▁` and `<0xE4>` for single bytes. Other vocabularies give None: no figure rather than a wrong one.
"""

import json
import re

import torch
from transformers import PreTrainedTokenizerFast

__all__ = ["token_bytes"]

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


def token_bytes(tokenizer: PreTrainedTokenizerFast, vocab_size: int) -> torch.Tensor | None:
    """Bytes of every token id, fp32 [V]: 0 for special tokens and unused rows; None for another kind of vocabulary."""
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    kinds = _kinds(description.get("pre_tokenizer")) | _kinds(description.get("decoder"))
    added = tokenizer.get_added_vocab()
    special = set(tokenizer.all_special_tokens)
    if not kinds & {"ByteLevel", "Metaspace", "ByteFallback"}:
        return None
    bytes_V = torch.zeros(vocab_size)
    for token, number in tokenizer.get_vocab().items():
        if token in special or number >= vocab_size:
            continue
        if token in added:
            bytes_V[number] = len(token.encode())
        elif "ByteLevel" in kinds:
            bytes_V[number] = len(token)
        else:
            bytes_V[number] = 1 if _BYTE.fullmatch(token) else len(token.replace("▁", " ").encode())
    return bytes_V


def _kinds(part: object) -> set[str]:
    """Types of a component of tokenizer.json, and of those inside of a sequence."""
    if not isinstance(part, dict):
        return set()
    inside = [*part.get("pretokenizers", []), *part.get("decoders", [])]
    return {str(part.get("type"))}.union(*(_kinds(item) for item in inside))
