"""What a tokenizer is trained to be, and the recipes that have names."""

from dataclasses import dataclass
from typing import Literal

from moesaic.errors import RecipeError

__all__ = ["CHAT_TEMPLATE", "CHAT_TOKENS", "KNOWLEDGE_TOKENS", "PRESETS", "TokenizerConfig", "tokenizer_preset"]

CHAT_TOKENS = ("<|im_start|>", "<|im_end|>")
"""Tokens that begin and end a turn in `CHAT_TEMPLATE`."""

KNOWLEDGE_TOKENS = ("<kg>", "</kg>", *(f"<mask_{index}>" for index in range(10)))
"""Tokens for triples written into text, and for spans that are left out to be predicted."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
"""Turns as `<|im_start|>role`, a line feed, the text, `<|im_end|>`, a line feed."""

_ROW_MULTIPLE = 128
_BYTES = 256
_CONTROL = 3


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """A SentencePiece BPE vocabulary (arXiv:1808.06226) and how it is learnt.

    Text is never changed but by `normalization`: blanks are kept one by one and none is put before a text, so that
    decoding gives back what was encoded.
    """

    vocab_size: int = 16_000
    """Tokens of all kinds, control and byte tokens included: 300 to 500,000."""

    rows: int | None = None
    """Rows of the embedding of a model that is made for it; if not given the next multiple of 128."""

    character_coverage: float = 0.9995
    """Share of the corpus's characters that get tokens of their own, 0.9 to 1; the rest is spelt in bytes."""

    byte_fallback: bool = True
    """Whether there are 256 byte tokens to spell any other character; without, it becomes `<unk>` and is lost."""

    split_digits: bool = True
    """Whether every digit is a token of its own."""

    normalization: Literal["identity", "nfkc"] = "identity"
    """`identity` keeps text as it is. `nfkc` folds compatible characters (full-width letters, ligatures) together."""

    symbols: tuple[str, ...] = CHAT_TOKENS
    """Texts that are always one token: turns of a chat, sentinels. They count in `vocab_size`."""

    chat_template: str | None = CHAT_TEMPLATE
    """Jinja template of a conversation, None for a tokenizer without one. Its tokens must be among `symbols`."""

    longest_piece: int = 16
    """Most characters of a token."""

    longest_line_bytes: int = 16_384
    """Lines that are longer are divided, at a blank where there is one; nothing is left out."""

    sample_lines: int = 0
    """Lines to learn from, drawn at random from a larger corpus; 0 for all. A million lines take 1 to 2 GB."""

    seed: int = 0
    """Seed of that draw."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained (`RecipeError`)."""
        if not 300 <= self.vocab_size <= 500_000:
            raise RecipeError(f"vocab_size={self.vocab_size!r} must be 300 to 500,000")
        if self.rows is not None and self.rows < self.vocab_size:
            raise RecipeError(f"rows={self.rows!r} must be at least vocab_size ({self.vocab_size})")
        if not 0.9 <= self.character_coverage <= 1:
            raise RecipeError(f"character_coverage={self.character_coverage!r} must be 0.9 to 1")
        if self.normalization not in ("identity", "nfkc"):
            raise RecipeError(f"normalization={self.normalization!r} is unknown: choose identity or nfkc")
        if not 1 <= self.longest_piece <= 64 or not 64 <= self.longest_line_bytes <= 1_000_000:
            raise RecipeError(
                f"longest_piece={self.longest_piece!r} must be 1 to 64, longest_line_bytes="
                f"{self.longest_line_bytes!r} 64 to 1,000,000"
            )
        if self.sample_lines < 0 or not 0 <= self.seed < 2**32:
            raise RecipeError(
                f"sample_lines={self.sample_lines!r} must be at least 0, seed={self.seed!r} 0 to 2^32 - 1"
            )
        self._check_symbols()

    @property
    def embedding_rows(self) -> int:
        """`rows`, or the next multiple of 128."""
        return self.rows or -(-self.vocab_size // _ROW_MULTIPLE) * _ROW_MULTIPLE

    def _check_symbols(self) -> None:
        unusable = [s for s in self.symbols if not s or any(c.isspace() or c in "\0\u2581\u2585" for c in s)]
        if unusable or len(set(self.symbols)) < len(self.symbols):
            raise RecipeError(f"symbols={self.symbols!r} must be different from each other, without blanks")
        taken = len(self.symbols) + _CONTROL + _BYTES * self.byte_fallback
        if taken >= self.vocab_size:
            raise RecipeError(
                f"vocab_size={self.vocab_size} leaves no room beside {taken} control, byte and symbol tokens"
            )
        if self.chat_template is not None:
            missing = [token for token in CHAT_TOKENS if token in self.chat_template and token not in self.symbols]
            if missing:
                raise RecipeError(f"the chat template uses {missing}, which symbols={self.symbols!r} lacks: add them")


_ALL_SYMBOLS = (*CHAT_TOKENS, *KNOWLEDGE_TOKENS)

PRESETS: dict[str, TokenizerConfig] = {
    "en-zh-8k": TokenizerConfig(vocab_size=8_000, character_coverage=0.998, symbols=_ALL_SYMBOLS),
    "en-zh-16k": TokenizerConfig(vocab_size=16_000, symbols=_ALL_SYMBOLS),
    "pai-50k": TokenizerConfig(vocab_size=50_000, rows=51_200, sample_lines=2_000_000, symbols=_ALL_SYMBOLS),
}
"""`en-zh-8k` and `en-zh-16k` train in minutes on two cores. `pai-50k` has the size of Alibaba PAI's GPT-MoE: BPE of
50,000 tokens, 51,200 rows; PAI learnt it from up to 500 million sentences, here 2 million are drawn."""


def tokenizer_preset(name: str) -> TokenizerConfig:
    """A recipe by its name; `RecipeError` for one that there is not."""
    if name not in PRESETS:
        raise RecipeError(f"there is no tokenizer preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
