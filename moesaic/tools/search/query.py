"""What is searched for, brought into one form: the same question asked twice is the same query, and is sent once."""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from moesaic.errors import InputError

__all__ = ["Safety", "SearchQuery", "TimeRange"]

_MOST_CHARACTERS = 2000
_MOST_RESULTS = 50
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ud800-\udfff]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA = re.compile("[\u3040-\u30ff]")
_OPERATORS = frozenset({"AND", "NOT", "OR"})


class TimeRange(StrEnum):
    """How old a page may be."""

    DAY = "day"
    """Of the last 24 hours."""
    WEEK = "week"
    """Of the last seven days."""
    MONTH = "month"
    """Of the last month."""
    YEAR = "year"
    """Of the last twelve months."""


class Safety(StrEnum):
    """Whether pages for adults are left out."""

    OFF = "off"
    """Nothing is left out."""
    MODERATE = "moderate"
    """What an engine does by itself."""
    STRICT = "strict"
    """As far as the engine can tell; an engine that cannot is not asked."""


@dataclass(frozen=True, kw_only=True)
class SearchQuery:
    """A question to search engines.

    Its text is normalized (NFKC, so that full-width letters, digits and punctuation of Chinese keyboards become the
    ordinary ones; white space is single; invisible characters are gone).

    Raises:
        InputError: the text is blank or too long, or a value is out of its range.
    """

    text: str
    """Keywords or a question, in any language; at most 2000 characters."""
    count: int = 8
    """Most results, 1 to 50."""
    language: str | None = None
    """Language of the results, such as en, zh or zh-TW; None for that of the text if it shows, and any if not."""
    time_range: TimeRange | None = None
    """How old a page may be; None for any age."""
    safety: Safety = Safety.MODERATE
    """Whether pages for adults are left out."""

    def __post_init__(self) -> None:
        text = " ".join(_UNSEEN.sub(" ", unicodedata.normalize("NFKC", self.text)).split())
        if not text:
            raise InputError(f"the query {self.text[:50]!r} is blank: give keywords or a question")
        if len(text) > _MOST_CHARACTERS:
            raise InputError(f"the query has {len(text)} characters; it may have {_MOST_CHARACTERS}: shorten it")
        if not 1 <= self.count <= _MOST_RESULTS:
            raise InputError(f"count={self.count!r} must be 1 to {_MOST_RESULTS}")
        if self.language is not None and not _LANGUAGE.fullmatch(self.language):
            raise InputError(f"language={self.language!r} must be a code such as en, zh or zh-TW")

        object.__setattr__(self, "text", text)
        object.__setattr__(self, "safety", _member("safety", self.safety, Safety))
        if self.time_range is not None:
            object.__setattr__(self, "time_range", _member("time_range", self.time_range, TimeRange))

    @property
    def spoken(self) -> str | None:
        """Language to ask an engine for: the one that was given, Chinese where the text is, None for any."""
        if self.language is not None:
            return self.language
        return "zh" if _HAN.search(self.text) and not _KANA.search(self.text) else None

    @property
    def key(self) -> str:
        """What two queries share exactly if an engine would answer them alike; engines do not mind capital letters."""
        words = (word if word in _OPERATORS else word.casefold() for word in self.text.split(" "))
        options = (str(self.count), self.spoken or "", self.time_range or "", self.safety)
        return "\n".join((" ".join(words), *options))


def _member(name: str, value: str, kind: type[StrEnum]) -> StrEnum:
    if value not in list(kind):
        raise InputError(f"{name}={value!r} must be one of {', '.join(kind)}")
    return kind(value)
