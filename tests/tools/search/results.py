"""Results for the tests, in one line."""

from typing import Any

from moesaic.tools.search import SearchResult

__all__ = ["result"]


def result(url: str = "https://a.example/", **given: Any) -> SearchResult:
    """A result at an address; its title and snippet name it, so that no two say the same."""
    fields: dict[str, Any] = {
        "title": f"Title of {url}",
        "snippet": f"Snippet of {url}",
        "rank": 1,
        "provider": "static",
    }
    return SearchResult(url=url, **fields | given)
