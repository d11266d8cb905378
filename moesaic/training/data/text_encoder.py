"""What turns text into token ids: the protocol that data preparation needs, and tokenizers of folders that follow it.

Folders are read without torch or transformers: `tokenizer.json` by tokenizers, `tokenizer.model` by sentencepiece.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol

from moesaic.errors import TokenizerError
from moesaic.training.data.durable import file_digest

__all__ = ["FolderEncoder", "TextEncoder", "encoder_digest"]

_END_FILES = ("tokenizer_config.json", "special_tokens_map.json")
_PROBE = "The quick brown fox, 0123 + 456 = 789.\n\n敏捷的棕色狐狸跳过了懒狗。\tdef f(x): return x"


class TextEncoder(Protocol):
    """A tokenizer."""

    eos_token_id: int
    """The token that ends a text."""
    vocab_size: int
    """Ids are below it."""

    def encode(self, text: str, /) -> list[int]:
        """Token ids of a text, without special tokens around it."""
        ...


class FolderEncoder:
    """The tokenizer of a folder.

    Args:
        folder: holds tokenizer.json with tokenizer_config.json, or tokenizer.model.

    Raises:
        TokenizerError: there is no tokenizer, it is damaged, or it does not say which token ends a text.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        fast, model = self.folder / "tokenizer.json", self.folder / "tokenizer.model"
        if fast.is_file():
            self._load_fast(fast)
        elif model.is_file():
            self._load_model(model)
        else:
            raise TokenizerError(
                f"{self.folder} has no tokenizer: give a folder with tokenizer.json and tokenizer_config.json, or with "
                "tokenizer.model"
            )

    def encode(self, text: str, /) -> list[int]:
        """Token ids of a text, without special tokens around it."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids if self._fast else self._tokenizer.encode(text)
        return list(ids)

    def _load_fast(self, path: Path) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception for a file that it cannot parse
            raise TokenizerError(f"{path} cannot be loaded ({error}): make it again") from error

        self._fast = True
        self.digest = file_digest(path)
        self.vocab_size = max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        end = self._end_token()
        found = None if end is None else self._tokenizer.token_to_id(end)
        if found is None:
            raise TokenizerError(
                f"{self.folder} does not say which token ends a text (eos_token is {end!r}): name one of its tokens as "
                "eos_token in tokenizer_config.json"
            )

        self.eos_token_id = int(found)

    def _load_model(self, path: Path) -> None:
        import sentencepiece

        try:
            self._tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as error:
            raise TokenizerError(f"{path} cannot be loaded ({error}): make it again") from error

        self._fast = False
        self.digest = file_digest(path)
        self.vocab_size = int(self._tokenizer.vocab_size())
        self.eos_token_id = int(self._tokenizer.eos_id())
        if self.eos_token_id < 0:
            raise TokenizerError(f"{path} has no end-of-text token: train it with eos_id of 0 or more")

    def _end_token(self) -> str | None:
        for name in _END_FILES:
            path = self.folder / name
            if not path.is_file():
                continue

            try:
                value = json.loads(path.read_bytes()).get("eos_token")
            except (ValueError, AttributeError) as error:
                raise TokenizerError(f"{path} is damaged ({error}): make it again") from error

            if isinstance(value, dict):
                value = value.get("content")
            if isinstance(value, str):
                return value

        return None


def encoder_digest(encoder: TextEncoder) -> str:
    """Identity of a tokenizer: that of its file, or of what it makes of a sample."""
    digest = getattr(encoder, "digest", None)
    if isinstance(digest, str) and digest:
        return digest

    sample = [encoder.vocab_size, encoder.eos_token_id, *encoder.encode(_PROBE)]
    return hashlib.sha256(json.dumps(sample).encode()).hexdigest()
