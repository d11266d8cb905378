"""Tokens to text, one by one: a character appears with the token that completes it."""

from collections.abc import Sequence

from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase

__all__ = ["TextStream"]

_BROKEN_PREFIX = "Invalid prefix encountered"


class TextStream:
    """Decodes what follows a prompt; special tokens have no text.

    The prompt matters: some tokenizers write a space before a word only where it does not begin the text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt_token_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer.backend_tokenizer
        self._stream = DecodeStream(ids=list(prompt_token_ids), skip_special_tokens=True)

    def push(self, token_id: int) -> str:
        """Give the text that this token completes."""
        try:
            text = self._stream.step(self._tokenizer, token_id)
        except Exception as error:  # tokenizers raises nothing narrower
            if not str(error).startswith(_BROKEN_PREFIX):
                raise
            # Bytes that are no UTF-8 can change how earlier ones read; begin again with this token.
            self._stream = DecodeStream(skip_special_tokens=True)
            text = self._stream.step(self._tokenizer, token_id)
        return text or ""
