"""What a search engine found, in one form, whichever it was."""

import html
import math
import re
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

__all__ = ["PassageSpan", "SearchResult"]

_TITLE_CHARACTERS = 500
_SNIPPET_CHARACTERS = 4000
_URL_CHARACTERS = 4000
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\ufeff\ud800-\udfff]")
_WEB = re.compile(r"https?://[^\s/?#@\\]+(?:[/?#][^\s\x00-\x1f\x7f]*)?", re.I)


class PassageSpan(NamedTuple):
    """Where a passage of a knowledge base stands: `text(document_id)[start:end]` of the base."""

    base: str
    document_id: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """One page, or one passage of a knowledge base."""

    title: str
    url: str
    """Its address: http, https, or kb:// for a passage of a knowledge base."""
    snippet: str
    """What the engine shows of it, without markup."""
    rank: int
    """Place among the results, from 1."""
    provider: str
    """Name of the engine that found it."""
    published: str | None = None
    """When it was published, as the engine says; None if it does not say."""
    score: float | None = None
    """The engine's own score; compare it within one answer alone."""
    span: PassageSpan | None = None
    """For a knowledge base: the exact span that `snippet` is."""
    also_at: tuple[str, ...] = ()
    """Addresses of results that were left out because they are the same page or say the same."""

    @classmethod
    def of_web(
        cls,
        *,
        title: object,
        url: object,
        snippet: object,
        rank: int,
        provider: str,
        published: object = None,
        score: object = None,
    ) -> Self | None:
        """A result out of what an engine sent, cleaned; None if it has no address of the web."""
        address = url.strip() if isinstance(url, str) else ""
        if len(address) > _URL_CHARACTERS or not _WEB.fullmatch(address):
            return None

        return cls(
            title=_plain(title)[:_TITLE_CHARACTERS] or address,
            url=address,
            snippet=_plain(snippet)[:_SNIPPET_CHARACTERS],
            rank=rank,
            provider=provider,
            published=_plain(published)[:40] or None,
            score=score if isinstance(score, float) and math.isfinite(score) else None,
        )

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        span = None if self.span is None else self.span._asdict()
        return asdict(self) | {"span": span, "also_at": list(self.also_at)}


def _plain(text: object) -> str:
    """Text without tags, entities, invisible characters and line ends; empty if it is no text."""
    if not isinstance(text, str):
        return ""
    return " ".join(_UNSEEN.sub(" ", html.unescape(_TAG.sub("", text))).split())
