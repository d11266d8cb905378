"""A tokenizer for tests: bytes are its tokens."""

__all__ = ["ByteEncoder"]


class ByteEncoder:
    """Token b + 1 for byte b; 0 ends a text."""

    eos_token_id = 0
    vocab_size = 257
    digest = "bytes"

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, text: str, /) -> list[int]:
        """The bytes of a text."""
        self.encoded += 1
        return [byte + 1 for byte in text.encode()]
