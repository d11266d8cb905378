"""What a search gives."""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Passage"]


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A chunk of a document, with how it was found."""

    document_id: str
    title: str
    heading_path: tuple[str, ...]
    start: int
    end: int
    """The span of the stored text: `KnowledgeBase.text(document_id)[start:end]` is `text`, exactly."""
    text: str
    score: float
    """What the passages of one search are ordered by. It depends on the mode: compare it within one search alone."""
    vector_rank: int | None
    """Rank from 1 among the nearest vectors; None if it was not among those looked at."""
    lexical_rank: int | None
    """Rank from 1 by words; None if it shares no word with the query, or was not among those looked at."""
    vector_similarity: float | None
    """Cosine of the angle to the query's vector, -1 to 1; None in a lexical search."""
    lexical_score: float
    """BM25 score; 0 if it shares no word with the query, and in a vector search."""

    def to_json(self) -> dict[str, Any]:
        """The passage as plain JSON values."""
        return asdict(self) | {"heading_path": list(self.heading_path)}
