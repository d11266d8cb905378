"""The fast tokenizer that a GGUF file describes.

A GGUF file carries tokens, their kinds, merges or scores, and for byte-level vocabularies the *name* of the rule by
which text is split before merging (`tokenizer.ggml.pre`). How this differs from transformers' own GGUF loading:

1. The rule is followed as llama.cpp defines it; transformers 5.19 falls back to GPT-2's for names that it lacks, such
   as SmolLM's, which sets every digit apart. An unknown name is refused, since a wrong split is silently a worse model.
2. A leading bos token is added exactly where the file (or llama.cpp's default for its kind) says so.
3. SentencePiece vocabularies keep a blank at the start of a text, as sentencepiece and llama.cpp do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from moesaic.errors import TokenizerError

__all__ = ["SPLITTING_RULES", "build_tokenizer"]

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_SPACE = "\u2581"


def _modern_split(letters: str, digits: str, contractions: bool = True, after_symbols: str = r"[\r\n]*") -> str:
    """The pattern that Llama 3, Qwen and Mistral Nemo vary: words, digit groups, symbols, line ends, spaces."""
    words = ([r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"] if contractions else []) + [letters, digits]
    return "|".join([*words, rf" ?[^\s\p{{L}}\p{{N}}]+{after_symbols}", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])


_ANY_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_CASED_WORD = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
)
_LLAMA3 = _modern_split(_ANY_WORD, r"\p{N}{1,3}")
_QWEN2 = _modern_split(_ANY_WORD, r"\p{N}")
_TEKKEN = _modern_split(_CASED_WORD, r"\p{N}", contractions=False, after_symbols=r"[\r\n/]*")
_GPT2, _GPT2_SINGLE_DIGITS = "gpt2", "gpt2, single digits"

SPLITTING_RULES: dict[str, str] = {
    **dict.fromkeys(("gpt-2", "gpt2", "mpt", "olmo"), _GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b"), _GPT2_SINGLE_DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3"), _LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez"), _QWEN2),
    "tekken": _TEKKEN,
}
"""Known values of `tokenizer.ggml.pre`, with the pattern that each stands for."""

_WHOLE_WORDS_FIRST = (_LLAMA3, _TEKKEN)
"""Rules of vocabularies that take a word which is a token as it is, without merging, and begin texts with bos."""


def build_tokenizer(metadata: Mapping[str, Any], where: str) -> PreTrainedTokenizerFast:
    """Make the tokenizer out of a GGUF file's metadata (`tokenizer.*` keys as Python values).

    Raises `TokenizerError` for a missing vocabulary and for kinds and splitting rules that aren't known.
    """
    kind, tokens = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.tokens")
    if not tokens:
        raise TokenizerError(f"{where} carries no vocabulary (tokenizer.ggml.tokens): use a complete file")
    for key in ("token_type", "scores"):
        if len(metadata.get(f"tokenizer.ggml.{key}", tokens)) != len(tokens):
            raise TokenizerError(f"{where} has another number of tokenizer.ggml.{key} than of tokens: fetch it again")
    if kind == "gpt2":
        backend, begins = _byte_level(metadata, tokens, where)
    elif kind == "llama" and "tokenizer.ggml.scores" in metadata:
        backend, begins = _sentencepiece(metadata, tokens), True
    else:
        raise TokenizerError(
            f"{where} has the tokenizer kind {kind!r}: supported are 'gpt2' (byte-level BPE) and 'llama' "
            "(SentencePiece BPE with scores); give the model's safetensors folder instead"
        )
    _add_whole_tokens(backend, tokens, metadata.get("tokenizer.ggml.token_type", ()))
    backend.post_processor = _ends(metadata, tokens, begins, where)
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    special = {name: _token(metadata, key, tokens, where) for name, key in names.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **{name: token for name, token in special.items() if token is not None},
        chat_template=metadata.get("tokenizer.chat_template"),
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _byte_level(metadata: Mapping[str, Any], tokens: Sequence[str], where: str) -> tuple[Tokenizer, bool]:
    """Byte-level BPE, and whether its texts begin with bos unless the file says otherwise."""
    rule = SPLITTING_RULES.get(metadata.get("tokenizer.ggml.pre", ""))
    if rule is None or "tokenizer.ggml.merges" not in metadata:
        lack = "no merges" if rule else f"the splitting rule {metadata.get('tokenizer.ggml.pre')!r}"
        raise TokenizerError(
            f"{where} has {lack}: supported are byte-level vocabularies with merges and one of the rules "
            f"{', '.join(SPLITTING_RULES)}; give the model's safetensors folder instead"
        )
    whole_words = rule in _WHOLE_WORDS_FIRST
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    try:
        backend = Tokenizer(BPE(vocab=_ids(tokens), merges=merges, ignore_merges=whole_words))
    except Exception as error:  # tokenizers knows no narrower class
        raise TokenizerError(f"{where} has merges that don't fit its tokens ({error}): fetch the file again") from error
    if rule in (_GPT2, _GPT2_SINGLE_DIGITS):
        digits = [pre_tokenizers.Digits(individual_digits=True)] if rule == _GPT2_SINGLE_DIGITS else []
        steps = [*digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    else:
        split = pre_tokenizers.Split(Regex(rule), behavior="isolated")
        steps = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    if rule == _QWEN2:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    backend.decoder = decoders.ByteLevel()
    return backend, whole_words


def _sentencepiece(metadata: Mapping[str, Any], tokens: Sequence[str]) -> Tokenizer:
    """SentencePiece BPE with byte fallback, as Llama 2 and the first Mistral models have it."""
    ids = _ids(tokens)
    prefix = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
    unknown = tokens[metadata.get("tokenizer.ggml.unknown_token_id", 0)]
    # A control token or a byte written out in text (as "<0x0A>") must not come out of merging its characters.
    kinds = metadata.get("tokenizer.ggml.token_type", [_NORMAL] * len(tokens))
    ordinary = {token: index for token, index in ids.items() if kinds[index] == _NORMAL}
    merges = _merges_by_score(ordinary, metadata["tokenizer.ggml.scores"])
    backend = Tokenizer(BPE(vocab=ids, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    # The prefix is a blank of its own, also before a text that begins with one, and returns after every control token.
    start = [normalizers.Prepend(_SPACE)] if prefix else []
    backend.normalizer = normalizers.Sequence([*start, normalizers.Replace(" ", _SPACE)])
    strip = [decoders.Strip(content=" ", left=1, right=0)] if prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return backend


def _merges_by_score(ids: Mapping[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """Merges that a scored vocabulary implies: every way to cut a token into two tokens, best-scored token first."""
    ranked: list[tuple[float, int, int, str, str]] = []
    for token, index in ids.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ids and right in ids:
                ranked.append((-scores[index], ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(ranked)]


def _ids(tokens: Sequence[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}


def _add_whole_tokens(backend: Tokenizer, tokens: Sequence[str], kinds: Sequence[int]) -> None:
    """Tokens that text is never split inside of: control tokens (special) and user-defined ones (ordinary text)."""
    for kind, add in ((_CONTROL, backend.add_special_tokens), (_USER_DEFINED, backend.add_tokens)):
        chosen = [token for token, its_kind in zip(tokens, kinds, strict=False) if its_kind == kind]
        add([AddedToken(token, normalized=False, special=kind == _CONTROL) for token in chosen])


def _ends(metadata: Mapping[str, Any], tokens: Sequence[str], begins: bool, where: str) -> processors.PostProcessor:
    """What is put before and after an encoded text."""
    defaults = {"bos": begins, "eos": False}
    wanted = [name for name, default in defaults.items() if metadata.get(f"tokenizer.ggml.add_{name}_token", default)]
    chosen = {name: _token(metadata, name, tokens, where) for name in wanted}
    before, after = chosen.get("bos"), chosen.get("eos")
    single = [piece for piece in (before, "$A", after) if piece is not None]
    second = [f"{piece}:1" for piece in (before, "$B", after) if piece is not None]
    ids = _ids(tokens)
    return processors.TemplateProcessing(
        single=single, pair=[*single, *second], special_tokens=[(t, ids[t]) for t in {before, after} if t is not None]
    )


def _token(metadata: Mapping[str, Any], name: str, tokens: Sequence[str], where: str) -> str | None:
    """The text of a special token that the metadata gives by id."""
    index = metadata.get(f"tokenizer.ggml.{name}_token_id")
    if index is None:
        return None
    if not 0 <= index < len(tokens):
        raise TokenizerError(
            f"{where} gives {name}_token_id={index}, its tokens go from 0 to {len(tokens) - 1}: "
            "the file contradicts itself; use another conversion of this model"
        )
    return str(tokens[index])
