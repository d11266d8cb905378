"""The vocabulary of a fast BPE tokenizer: what its tokens stand for, and how new merges are put in.

Two spellings are known: byte-level (GPT-2 and most models since; every byte is written as a visible character), and
SentencePiece's (U+2581 for a blank, `<0x41>` for a byte that has no better token).
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from moesaic.errors import TokenizerError

__all__ = ["BPEVocabulary", "character_bytes"]

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


def _byte_of_character() -> dict[str, int]:
    """GPT-2's spelling of bytes: printable ones as themselves, the others, in order, as U+0100 onwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + rank): byte for rank, byte in enumerate(others)}


_BYTES = _byte_of_character()


def character_bytes(lead: int) -> int:
    """Bytes of the UTF-8 character that begins with this one."""
    return 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)


class BPEVocabulary:
    """A tokenizer's BPE model. Raises `TokenizerError` for a tokenizer of another kind."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.backend: Tokenizer = tokenizer.backend_tokenizer
        self._content: dict[str, Any] = json.loads(self.backend.to_str())
        model = self._content["model"]
        if model.get("type") != "BPE" or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
            raise TokenizerError(
                f"the tokenizer is a {model.get('type')} model, or one that marks parts of words: only plain BPE "
                "vocabularies with merges can be extended"
            )
        decoders = {step.get("type") for step in _steps(self._content.get("decoder"), "decoders")}
        self.byte_level = "ByteLevel" in decoders
        self._texts: dict[str, str | None] = {}
        self.spells_everything = self.byte_level or bool(model.get("byte_fallback"))
        self.added = {entry["content"] for entry in self._content["added_tokens"]}
        self.tokens: set[str] = set(model["vocab"])
        self.ids: dict[str, int] = self.backend.get_vocab(with_added_tokens=True)

    @property
    def next_id(self) -> int:
        """The first id above all that are in use."""
        return max(self.ids.values()) + 1

    def is_byte(self, token: str) -> bool:
        """Whether a token is a byte to fall back on, which nothing can be merged with."""
        return not self.byte_level and _BYTE_TOKEN.fullmatch(token) is not None

    def bytes_of(self, token: str) -> bytes:
        """The UTF-8 bytes that an ordinary token stands for."""
        if self.byte_level:
            return bytes(_BYTES[character] for character in token)
        found = _BYTE_TOKEN.fullmatch(token)
        return bytes([int(found[1], 16)]) if found else token.replace("\u2581", " ").encode()

    def text_of(self, token: str) -> str | None:
        """The text that an ordinary token stands for, None where it is no more than a part of characters."""
        if token not in self._texts:
            try:
                self._texts[token] = self.bytes_of(token).decode()
            except UnicodeDecodeError:
                self._texts[token] = None
        return self._texts[token]

    def extended(self, characters: Sequence[str], merges: Sequence[tuple[str, str]]) -> Tokenizer:
        """The tokenizer with more characters and merges; all that it had keeps its id, and its place in the order."""
        content = json.loads(json.dumps(self._content))
        model = content["model"]
        # Added tokens that the model lacks would get new ids when the tokenizer is read, behind the new pieces.
        model["vocab"] |= {entry["content"]: entry["id"] for entry in content["added_tokens"]}
        # Two pairs may make the same token.
        fresh = dict.fromkeys([*characters, *("".join(pair) for pair in merges)])
        model["vocab"] |= {token: rank for rank, token in enumerate(fresh, start=self.next_id)}
        model["merges"] += [list(pair) for pair in merges]
        try:
            return Tokenizer.from_str(json.dumps(content))
        except Exception as error:  # tokenizers knows no narrower class
            raise TokenizerError(f"the extended tokenizer cannot be built ({error}): report the text") from error


def _steps(part: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """The steps of a decoder, whether it is one or a sequence."""
    if part is None:
        return []
    return part[name] if part.get("type") == "Sequence" else [part]
