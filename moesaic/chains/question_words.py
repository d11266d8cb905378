"""How much of a question a text has in common with it, word by word, and which of its words a base never mentions.

- A word weighs what the best passage would score for it alone (BM25): rare words weigh more, and a word that no passage
  has weighs nothing. It is asked of the base's own lexical index, so that no second index is kept.
- English endings are taken off before words are compared (`derives` meets `derived`). This is cruder than Porter's
  stemmer ("An algorithm for suffix stripping", 1980): it serves a score, nobody sees its stems.
- Words of a script that the passages are not written in say nothing: a Chinese question to an English base.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from moesaic.retrieval import KnowledgeBase, SearchMode
from moesaic.retrieval.lexical_tokens import lexical_tokens
from moesaic.retrieval.query_words import query_words

__all__ = ["QuestionWords", "stems"]

_MOST_WORDS = 32
_KNOWN_SCRIPT_SHARE = 0.2
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_LETTER = re.compile(r"[^\W\d_]")
_ENGLISH = re.compile(r"[a-z]{4,}")
_ENDINGS = (
    ("ational", "ate"),
    ("ization", "iz"),
    ("iness", "y"),
    ("ingly", ""),
    ("ments", ""),
    ("ities", "ity"),
    ("edly", ""),
    ("ment", ""),
    ("ies", "y"),
    ("ing", ""),
    ("ers", "er"),
    ("ed", ""),
    ("es", "e"),
    ("ly", ""),
    ("s", ""),
)


@dataclass(frozen=True, kw_only=True)
class QuestionWords:
    """The words of one question, seen from one base."""

    weights: Mapping[str, float]
    """Weight of each word, by its stem."""
    absent_share: float
    """Share of the words that no passage of the base has, 0 to 1."""

    @classmethod
    def of(cls, question: str, base: KnowledgeBase, sample: str) -> Self:
        """The words of a question; the base's lexical index is asked once for each.

        Args:
            question: the question.
            base: where its words are looked up.
            sample: text of the base, from which its scripts are seen.
        """
        han, letters = len(_HAN.findall(sample)), max(1, len(_LETTER.findall(sample)))
        knows = {True: han / letters >= _KNOWN_SCRIPT_SHARE, False: 1 - han / letters >= _KNOWN_SCRIPT_SHARE}
        weights: dict[str, float] = {}
        counted = absent = 0
        for word in list(dict.fromkeys(filter(_LETTER.search, query_words(question))))[:_MOST_WORDS]:
            found = base.search(word, k=1, mode=SearchMode.LEXICAL)
            weights[_stem(word)] = max(found[0].lexical_score if found else 0.0, weights.get(_stem(word), 0.0))
            if knows[bool(_HAN.search(word))]:
                counted += 1
                absent += not found
        return cls(weights=weights, absent_share=absent / counted if counted else 0.0)

    def coverage(self, text_stems: frozenset[str]) -> float:
        """Share of the weight whose stems a text has, 0 to 1."""
        total = sum(self.weights.values())
        return sum(weight for stem, weight in self.weights.items() if stem in text_stems) / total if total else 0.0


def stems(text: str) -> frozenset[str]:
    """The stems of a text's words."""
    return frozenset(map(_stem, lexical_tokens(text)))


def _stem(word: str) -> str:
    if not _ENGLISH.fullmatch(word):
        return word

    for ending, instead in _ENDINGS:
        if word.endswith(ending) and not word.endswith("ss") and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending) + instead
            break
    if len(word) > 4 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word
