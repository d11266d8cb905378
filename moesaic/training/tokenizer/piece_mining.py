"""Find the merges that a BPE vocabulary lacks for a text: byte-pair encoding, continued.

The text is encoded with the vocabulary as it is, and byte-pair encoding (Sennrich et al., arXiv:1508.07909, section
3.2) goes on from there: whatever two tokens stand side by side most often become one. Appended after the old merges,
the new ones act on nothing but what the old ones leave, so that text without new pieces keeps its tokens, and a new
piece is always the union of the very tokens that stood there before.

- Characters that are spelt in several tokens come first, most frequent first, and get half of the room, or more where
  pieces of several characters leave some; these are learnt from what is then whole. So no token is a mixture of parts
  of two characters.
- Pairs are counted within what the tokenizer takes for a word, never across control or added tokens.
- Vocabularies with byte tokens to fall back on (SentencePiece) get characters as such: nothing can be merged with a
  byte token there.
- The counting is done by the `tokenizers` library, on texts in which one private character stands for each symbol.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import BpeTrainer

from moesaic.errors import CorpusError, TokenizerError
from moesaic.training.tokenizer.bpe_vocabulary import BPEVocabulary, character_bytes
from moesaic.training.tokenizer.extension_config import ExtensionConfig

__all__ = ["MinedPieces", "mine_pieces"]

_HAN = re.compile(
    "[\u2e80-\u2fdf\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\u2018-\u201d\u2014\u2026"
    "\U00020000-\U0003ffff]+"
)
_PRIVATE = range(0xF0000, 0x110000)
_SPACE = "\u2581"
_BATCH = 256


class MinedPieces(NamedTuple):
    """What a text suggests to add, in this order."""

    characters: list[str]
    """Characters that become tokens without a merge."""
    merges: list[tuple[str, str]]
    """Pairs of tokens (old, or made before) that become one."""


class _Symbol(NamedTuple):
    """A token, or a character that several tokens spell."""

    name: str
    word: int | None
    wanted: bool
    """Whether it is of the chosen script, so that it may take part in a new piece."""


class _Words:
    """Stretches of symbols that may grow together, with their counts, and how characters were spelt."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.spellings: Counter[tuple[str, ...]] = Counter()


def mine_pieces(vocabulary: BPEVocabulary, texts: Iterable[str], config: ExtensionConfig) -> MinedPieces:
    """The characters and merges that shorten the texts most: together they make at most `config.tokens` new tokens.

    Raises `CorpusError` if nothing repeats often enough, `TokenizerError` for a vocabulary that can't spell all text.
    """
    if not vocabulary.spells_everything:
        raise TokenizerError(
            "the tokenizer is neither byte-level nor has it byte tokens to fall back on, so that text is lost in it: "
            "give another one"
        )
    words = _words(vocabulary, texts, config)
    room = (config.tokens + 1) // 2
    while True:
        mined, made = _characters(vocabulary, words.spellings, config, room)
        merges, composed = _pieces(vocabulary, words, config, made)
        spare = config.tokens - len(made) - composed
        # Where pieces of several characters are few, more characters take their place.
        if not spare or room == config.tokens:
            break
        room = min(room + spare, config.tokens)
    if not made and not merges:
        raise CorpusError(
            f"no piece of script={config.script!r} that the vocabulary lacks occurs {config.least_count} times in "
            f"{words.counts.total():,} words: give more text, another script, or a smaller least_count"
        )
    return MinedPieces(mined.characters, mined.merges + merges)


def _pieces(
    vocabulary: BPEVocabulary, words: _Words, config: ExtensionConfig, made: set[str]
) -> tuple[list[tuple[str, str]], int]:
    """Merges of whole symbols, once the characters `made` are tokens; and how many tokens they make."""
    known = vocabulary.tokens | made
    runs: Counter[tuple[str, ...]] = Counter()
    for word, count in words.counts.items():
        for run in _runs(word, known):
            runs[run] += count
    wanted = config.tokens - len(made)
    return _learnt(vocabulary, runs, config, wanted) if wanted > 0 and runs else ([], 0)


def _words(vocabulary: BPEVocabulary, texts: Iterable[str], config: ExtensionConfig) -> _Words:
    """Encode the texts line by line, and cut the lines where words or the chosen script end."""
    words = _Words()
    for lines in _batches(line for text in texts for line in text.splitlines() if line.strip()):
        for line, encoding in zip(lines, vocabulary.backend.encode_batch(lines, add_special_tokens=False), strict=True):
            word: list[str] = []
            former = None
            for symbol in _symbols(vocabulary, line, encoding, config, words.spellings):
                begins = not vocabulary.byte_level and symbol.name.startswith(_SPACE)
                if word and (not symbol.wanted or begins or symbol.word != former):
                    words.counts[tuple(word)] += 1
                    word = []
                if symbol.wanted:
                    word.append(symbol.name)
                former = symbol.word
            if word:
                words.counts[tuple(word)] += 1
    return words


def _batches(lines: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _symbols(
    vocabulary: BPEVocabulary,
    line: str,
    encoding: Encoding,
    config: ExtensionConfig,
    spellings: Counter[tuple[str, ...]],
) -> Iterator[_Symbol]:
    """The tokens of a line; those that spell one character together become one symbol, and are noted."""
    any_script = config.script == "any"
    spelt: list[str] = []
    for token, word in zip(encoding.tokens, encoding.word_ids, strict=True):
        if token in vocabulary.added:
            spelt = []
            yield _Symbol(token, word, False)
            continue
        text = None if vocabulary.is_byte(token) else vocabulary.text_of(token)
        if text is not None:
            spelt = []
            yield _Symbol(token, word, any_script or _HAN.fullmatch(text) is not None)
            continue
        spelt.append(token)
        raw = b"".join(map(vocabulary.bytes_of, spelt))
        if len(raw) < character_bytes(raw[0]):
            continue
        character, spelling, spelt = _decoded(raw), tuple(spelt), []
        if character is None or len(character) > 1:  # parts of two characters in one token: they stay as they are
            yield from (_Symbol(part, word, False) for part in spelling)
            continue
        name = "".join(spelling) if vocabulary.byte_level else character
        wanted = any_script or _HAN.fullmatch(character) is not None
        spellings[spelling] += wanted
        yield _Symbol(name, word, wanted)


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _characters(
    vocabulary: BPEVocabulary, spellings: Counter[tuple[str, ...]], config: ExtensionConfig, room: int
) -> tuple[MinedPieces, set[str]]:
    """What makes whole tokens of the most frequent characters, and the names of the at most `room` new tokens."""
    characters: list[str] = []
    merges: dict[tuple[str, str], None] = {}
    made: set[str] = set()
    frequent = [(-count, spelling) for spelling, count in spellings.items() if count >= config.least_count]
    for _, spelling in sorted(frequent):
        if vocabulary.byte_level:
            pairs = [("".join(spelling[:end]), spelling[end]) for end in range(1, len(spelling))]
            fresh = {left + right for left, right in pairs} - made
        else:
            character = b"".join(map(vocabulary.bytes_of, spelling)).decode()
            pairs, fresh = [], {character} - made
        # A name that the old vocabulary has, but does not come to by its merges, must not change its meaning.
        if fresh & vocabulary.tokens or len(made) + len(fresh) > room:
            continue
        made |= fresh
        merges |= dict.fromkeys(pairs)
        characters += [] if vocabulary.byte_level else sorted(fresh)
    return MinedPieces(characters, list(merges)), made


def _runs(word: tuple[str, ...], known: set[str]) -> Iterator[tuple[str, ...]]:
    """Stretches of a word in which every symbol is a token."""
    run: list[str] = []
    for symbol in (*word, None):
        if symbol in known:
            run.append(symbol)
            continue
        if len(run) > 1:
            yield tuple(run)
        run = []


def _learnt(
    vocabulary: BPEVocabulary, runs: Counter[tuple[str, ...]], config: ExtensionConfig, wanted: int
) -> tuple[list[tuple[str, str]], int]:
    """Merges of whole symbols in the order of their counts, which make `wanted` tokens, or as many as there are."""
    alphabet = sorted({symbol for run in runs for symbol in run})
    if len(alphabet) > len(_PRIVATE):
        raise CorpusError(f"the text uses {len(alphabet):,} different tokens, at most {len(_PRIVATE):,} can be mined")
    private = {symbol: chr(_PRIVATE[index]) for index, symbol in enumerate(alphabet)}
    lines = [" ".join(["".join(private[symbol] for symbol in run)] * count) for run, count in runs.items()]
    tried = wanted + 64
    while True:
        found = _trained(lines, len(alphabet) + tried, config.least_count)
        merges, made = _fit(vocabulary, alphabet, found, config, wanted)
        if made == wanted or len(found) < tried:
            return merges, made
        tried *= 2


def _trained(lines: list[str], size: int, least_count: int) -> list[tuple[str, str]]:
    """Pairs of private spellings that byte-pair encoding merges, in order."""
    learner = Tokenizer(BPE())
    learner.pre_tokenizer = WhitespaceSplit()
    trainer = BpeTrainer(vocab_size=size, min_frequency=least_count, show_progress=False, special_tokens=[])
    learner.train_from_iterator(lines, trainer)
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]


def _fit(
    vocabulary: BPEVocabulary, alphabet: list[str], found: list[tuple[str, str]], config: ExtensionConfig, wanted: int
) -> tuple[list[tuple[str, str]], int]:
    """The merges of short enough pieces that are new, without those built on a merge that was left out."""
    spelt = {chr(_PRIVATE[index]): symbol for index, symbol in enumerate(alphabet)}
    merges: dict[tuple[str, str], None] = {}
    accepted, made = set(spelt), set[str]()
    for left, right in found:
        pair = "".join(spelt[c] for c in left), "".join(spelt[c] for c in right)
        whole = "".join(pair)
        if not {left, right} <= accepted or whole in vocabulary.tokens:
            continue
        text = vocabulary.text_of(whole)
        if text is None or len(text) > config.longest_piece:
            continue
        accepted.add(left + right)
        merges[pair] = None
        made.add(whole)
        if len(made) == wanted:
            break
    return list(merges), len(made)
