"""Learn a SentencePiece BPE vocabulary from texts.

SentencePiece passes over lines that are too long or that hold a tab or U+2585, which it uses itself; here they are
divided instead, so that every text is learnt from.
"""

import io
import re
from collections.abc import Iterable, Iterator

import sentencepiece

from moesaic.errors import CorpusError
from moesaic.training.tokenizer.tokenizer_config import TokenizerConfig

__all__ = ["END_OF_TEXT", "PADDING", "UNKNOWN", "learn_pieces", "training_lines"]

UNKNOWN, END_OF_TEXT, PADDING = "<unk>", "<|endoftext|>", "<|pad|>"
"""Control tokens, with the ids 0, 1 and 2. No text begins with a token: there is no bos."""

_BREAKS = re.compile("[\r\n\t\0\u2028\u2029\u2585]+")
_THREADS = 2


def learn_pieces(texts: Iterable[str], config: TokenizerConfig) -> bytes:
    """The trained model, as SentencePiece writes it.

    Raises `CorpusError` if the texts are too few for that many tokens, or hold nothing.
    """
    lines = _Counted(training_lines(texts, config.longest_line_bytes))
    model = io.BytesIO()
    sentencepiece.set_random_generator_seed(config.seed)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=config.vocab_size,
            character_coverage=config.character_coverage,
            byte_fallback=config.byte_fallback,
            split_digits=config.split_digits,
            normalization_rule_name=config.normalization,
            user_defined_symbols=list(config.symbols),
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            max_sentencepiece_length=config.longest_piece,
            max_sentence_length=config.longest_line_bytes + 4,
            input_sentence_size=config.sample_lines,
            shuffle_input_sentence=bool(config.sample_lines),
            unk_id=0,
            bos_id=-1,
            eos_id=1,
            pad_id=2,
            unk_piece=UNKNOWN,
            eos_piece=END_OF_TEXT,
            pad_piece=PADDING,
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise CorpusError(
            f"no {config.vocab_size:,} tokens can be learnt from {lines.count:,} lines with {lines.characters:,} "
            f"characters ({_reason(error)}): give more text, or a smaller vocab_size"
        ) from error
    return model.getvalue()


def training_lines(texts: Iterable[str], longest_bytes: int) -> Iterator[str]:
    """Lines of at most `longest_bytes` bytes that hold all of the texts but the characters lines are divided at."""
    for text in texts:
        for line in _BREAKS.split(text):
            while line:
                head = line if len(line) * 4 <= longest_bytes else _head(line, longest_bytes)
                yield head
                line = line[len(head) :]


def _head(line: str, longest_bytes: int) -> str:
    """The longest beginning of a line within the bytes, up to a blank if there is one in its second half."""
    raw = line.encode("utf-8", "replace")
    if len(raw) <= longest_bytes:
        return line
    head = raw[:longest_bytes].decode("utf-8", "ignore")
    blank = head.rfind(" ")
    return head[:blank] if blank > len(head) // 2 else head


class _Counted:
    """Lines, with how many there were."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.count = self.characters = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.count += 1
            self.characters += len(line)
            # Half a surrogate is no character; a lone one comes from JSON that was cut.
            yield line.encode("utf-8", "replace").decode()


def _reason(error: RuntimeError) -> str:
    """What SentencePiece says, without the place in its source."""
    return re.sub(r"^.*?\]\s*", "", str(error).strip().replace("\n", " ")) or "it gave no reason"
