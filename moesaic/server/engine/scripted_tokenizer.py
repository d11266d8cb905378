"""A tokenizer without vocabulary for `ScriptedEngine`: one token for each byte of UTF-8."""

import codecs
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["ByteStream", "ByteTokenizer"]

_BYTES = 256


class ByteTokenizer:
    """Ids 0 to 255 are bytes; 256 ends a text. Any text survives encoding and decoding."""

    vocab_size = _BYTES + 1
    eos_token_id = _BYTES
    eos_token = "</s>"

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Give the bytes of a text; there is no special token to add."""
        return list(text.encode("utf-8"))

    def decode(self, token_ids: Iterable[int], *, skip_special_tokens: bool = False) -> str:
        """Give the text of bytes; broken UTF-8 shows as U+FFFD."""
        parts: list[str] = []
        run = bytearray()
        for token_id in token_ids:
            if token_id < _BYTES:
                run.append(token_id)
                continue
            parts.append(run.decode("utf-8", errors="replace"))
            parts.append("" if skip_special_tokens else self.eos_token)
            run.clear()
        return "".join([*parts, run.decode("utf-8", errors="replace")])

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, str]],
        *,
        tokenize: bool = True,
        add_generation_prompt: bool = False,
        **options: object,
    ) -> str | list[int]:
        """Give the prompt of a conversation: a line `role: content` for each message."""
        lines = [f"{message['role']}: {message['content']}\n" for message in conversation]
        text = "".join(lines) + ("assistant: " if add_generation_prompt else "")
        return self.encode(text) if tokenize else text


class ByteStream:
    """Decodes byte tokens one by one; a character appears with its last byte."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """Give the text that this token completes."""
        return self._decoder.decode(bytes([token_id])) if token_id < _BYTES else ""
