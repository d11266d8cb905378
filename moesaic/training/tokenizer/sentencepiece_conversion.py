"""A SentencePiece BPE model as a fast tokenizer that gives the same ids.

- SentencePiece merges whichever neighbours make the best-scored piece; fast tokenizers go through a list of pairs. The
  list holds every way to cut a piece into two pieces, in the order of the pieces' scores.
- Control and byte tokens, if a text spells them out, must not come out of merging: no pair of the list makes one.
- Symbols (user-defined pieces) are found in text before anything else, in both.
- What a fast tokenizer does in addition: control tokens such as `<|endoftext|>` are recognised in text, as chat
  templates need them; SentencePiece spells them out.
"""

from collections.abc import Iterable
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from moesaic.errors import TokenizerError
from moesaic.training.tokenizer.sentencepiece_training import END_OF_TEXT, PADDING, UNKNOWN

__all__ = ["check_equal_ids", "convert_pieces"]

_SPACE = "\u2581"
_format: Any = sentencepiece_model_pb2  # generated, without types


def convert_pieces(model: bytes, chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a SentencePiece BPE model.

    Symbols that the chat template mentions become special: they are left out of decoded text on request. Raises
    `TokenizerError` for a model that isn't BPE, or one that puts a blank before texts or drops blanks.
    """
    proto = _parsed(model)
    kinds = _format.ModelProto.SentencePiece
    ids = {piece.piece: index for index, piece in enumerate(proto.pieces)}
    ordinary = {piece.piece: piece.score for piece in proto.pieces if piece.type == kinds.NORMAL}
    backend = Tokenizer(
        BPE(
            vocab=ids,
            merges=_merges(ordinary, ids),
            unk_token=UNKNOWN,
            fuse_unk=True,
            byte_fallback=proto.trainer_spec.byte_fallback,
        )
    )
    charsmap = proto.normalizer_spec.precompiled_charsmap
    folding = [normalizers.Precompiled(charsmap)] if charsmap else []
    backend.normalizer = normalizers.Sequence([*folding, normalizers.Replace(" ", _SPACE)])
    backend.decoder = decoders.Sequence([decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    control = [piece.piece for piece in proto.pieces if piece.type in (kinds.CONTROL, kinds.UNKNOWN)]
    symbols = [piece.piece for piece in proto.pieces if piece.type == kinds.USER_DEFINED]
    turns = [symbol for symbol in symbols if chat_template is not None and symbol in chat_template]
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (*control, *turns)])
    backend.add_tokens([AddedToken(token, normalized=False) for token in symbols if token not in turns])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=UNKNOWN,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        chat_template=chat_template,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def check_equal_ids(tokenizer: PreTrainedTokenizerFast, model: bytes, texts: Iterable[str]) -> int:
    """Raise `TokenizerError` at the first text that SentencePiece encodes otherwise; else how many were compared.

    Texts that spell out a control token are passed over (see the head of this module).
    """
    reference = sentencepiece.SentencePieceProcessor(model_proto=model)
    control = (UNKNOWN, END_OF_TEXT, PADDING)
    compared = 0
    for text in texts:
        if any(token in text for token in control):
            continue
        expected = reference.encode(text)
        found = tokenizer.encode(text, add_special_tokens=False)
        if found != expected:
            at = next((i for i, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), -1)
            raise TokenizerError(
                f"the fast tokenizer gives other ids than SentencePiece for {text[:60]!r}, first at token {at}: "
                "use normalization='identity', or another corpus, and report the text"
            )
        compared += 1
    return compared


def _parsed(model: bytes) -> Any:
    proto = _format.ModelProto()
    proto.ParseFromString(model)
    spec = proto.normalizer_spec
    if proto.trainer_spec.model_type != _format.TrainerSpec.BPE:
        raise TokenizerError("only BPE models of SentencePiece are converted: train with model_type='bpe'")
    if spec.add_dummy_prefix or spec.remove_extra_whitespaces:
        raise TokenizerError(
            f"a model with add_dummy_prefix={spec.add_dummy_prefix} and remove_extra_whitespaces="
            f"{spec.remove_extra_whitespaces} changes texts: train with both of them off"
        )
    return proto


def _merges(scores: dict[str, float], ids: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to cut a piece into two, best-scored piece first."""
    ranked: list[tuple[float, int, int, str, str]] = []
    for piece, score in scores.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in scores and right in scores:
                ranked.append((-score, ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(ranked)]
