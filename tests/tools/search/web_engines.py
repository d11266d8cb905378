"""The search engines of the tests: servers on loopback that speak the real ones' protocols over one real index.

The index is a knowledge base of the project, searched by words, over the pages of `web_documents`. Each protocol is
what its provider documents: names, places and types of fields, statuses of refusals, and how a key is sent.
"""

import html
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

from moesaic.retrieval import Document, KnowledgeBase, ScriptedEmbedder
from tests.tools.page.lab import Request, Route, Send, answer
from tests.tools.search.web_documents import WEB, WebDocument

__all__ = ["KEY", "Index", "brave", "duckduckgo", "searxng", "tavily"]

KEY = "sk-test-0123456789abcdef"
"""The key that Brave and Tavily know here."""

_JSON = "application/json"
_AGES = {"day": 1, "week": 7, "month": 31, "year": 366}


class Index:
    """Finds pages by words."""

    def __init__(self, folder: Path) -> None:
        self._pages = {page.url: page for page in WEB}
        self.base = KnowledgeBase.create(folder, embedder=ScriptedEmbedder(16))
        self.base.add(Document(id=page.url, title=page.title, text=f"{page.title}\n\n{page.text}") for page in WEB)

    def find(self, query: str, *, most: int = 50, language: str = "", age_days: int = 10**6) -> list[WebDocument]:
        """Pages that share words with a query, best first."""
        passages = self.base.search(query, k=50, mode="lexical") if query.strip() else []
        pages = [self._pages[passage.document_id] for passage in passages]
        is_chinese = language.startswith("zh")
        wanted = (
            page for page in pages if page.age_days <= age_days and (not language or ("/zh/" in page.url) == is_chinese)
        )
        return list(dict.fromkeys(wanted))[:most]


def _asked(request: Request) -> dict[str, str]:
    query = request.target.partition("?")[2] or request.body.decode()
    return {name: values[0] for name, values in parse_qs(query).items()}


def _date(page: WebDocument) -> str:
    return (datetime.now(UTC) - timedelta(days=page.age_days)).replace(microsecond=0, tzinfo=None).isoformat()


def _json(value: object, status: str = "200 OK", **headers: str) -> Route:
    return answer(json.dumps(value), status=status, type_=_JSON, **headers)


def _route(reply: Callable[[Request], Route]) -> Route:
    def route(request: Request, send: Send) -> None:
        reply(request)(request, send)

    return route


def searxng(index: Index) -> Route:
    """`GET /search` of SearXNG, with JSON switched on."""

    def reply(request: Request) -> Route:
        asked = _asked(request)
        if asked.get("format") != "json":
            return answer("<h1>Forbidden</h1>", status="403 FORBIDDEN")
        if not asked.get("q") or asked.get("safesearch") not in ("0", "1", "2"):
            return answer("Invalid settings", status="400 BAD REQUEST", type_="text/plain")
        if asked.get("time_range", "day") not in _AGES:
            return answer("Invalid settings", status="400 BAD REQUEST", type_="text/plain")
        pages = index.find(
            asked["q"], language=asked.get("language", ""), age_days=_AGES.get(asked.get("time_range", ""), 10**6)
        )
        results = [
            {
                "url": page.url,
                "title": page.title,
                "content": page.text,
                "publishedDate": _date(page),
                "engine": "local",
                "engines": ["local"],
                "positions": [place],
                "parsed_url": ["https", page.url.split("/")[2], "/", "", "", ""],
                "template": "default.html",
                "score": 1 / place,
                "category": "general",
            }
            for place, page in enumerate(pages, start=1)
        ]
        found = {"query": asked["q"], "number_of_results": len(results), "results": results}
        empty: dict[str, list[str]] = {
            name: [] for name in ("answers", "corrections", "infoboxes", "suggestions", "unresponsive_engines")
        }
        return _json(found | empty)

    return _route(reply)


def brave(index: Index) -> Route:
    """`GET /res/v1/web/search` of Brave."""

    def reply(request: Request) -> Route:
        asked = _asked(request)
        if request.headers.get("x-subscription-token") != KEY:
            said = request.headers.get("x-subscription-token", "")
            detail = f"The provided subscription token {said} is invalid."
            error = {"id": "1", "status": 422, "code": "SUBSCRIPTION_TOKEN_INVALID", "detail": detail}
            return _json({"type": "ErrorResponse", "error": error}, status="422 Unprocessable Entity")
        if not 1 <= int(asked.get("count", "20")) <= 20 or len(asked["q"]) > 400:
            return _json({"type": "ErrorResponse", "error": {"code": "VALIDATION"}}, status="422 Unprocessable Entity")
        freshness = {"pd": "day", "pw": "week", "pm": "month", "py": "year"}.get(asked.get("freshness", ""), "")
        pages = index.find(
            asked["q"],
            most=int(asked.get("count", "20")),
            language=asked.get("search_lang", ""),
            age_days=_AGES.get(freshness, 10**6),
        )
        found = {"type": "search", "query": {"original": asked["q"], "more_results_available": False}}
        if not pages:  # Brave leaves the part out then
            return _json(found)
        results = [
            {
                "type": "search_result",
                "title": f"<strong>{html.escape(page.title)}</strong>",
                "url": page.url,
                "description": f"{html.escape(page.text)} &amp; more",
                "page_age": _date(page),
                "language": "en",
                "meta_url": {"scheme": "https", "netloc": page.url.split("/")[2], "hostname": page.url.split("/")[2]},
            }
            for page in pages
        ]
        return _json(found | {"web": {"type": "search", "results": results, "family_friendly": True}})

    return _route(reply)


def tavily(index: Index) -> Route:
    """`POST /search` of Tavily."""

    def reply(request: Request) -> Route:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            said = request.headers.get("authorization", "")
            detail = f"Unauthorized: missing or invalid API key ({said})."
            return _json({"detail": {"error": detail}}, status="401 Unauthorized")
        if request.method != "POST":
            return _json({"detail": "Method Not Allowed"}, status="405 Method Not Allowed")
        asked = json.loads(request.body)
        age_days = _AGES.get(asked.get("time_range", ""), 10**6)
        pages = index.find(asked["query"], most=asked["max_results"], age_days=age_days)
        results = [
            {"url": page.url, "title": page.title, "content": page.text, "score": 1 / place, "raw_content": None}
            for place, page in enumerate(pages, start=1)
        ]
        return _json(
            {
                "query": asked["query"],
                "follow_up_questions": None,
                "answer": None,
                "images": [],
                "results": results,
                "response_time": 0.1,
                "request_id": "0",
            }
        )

    return _route(reply)


def duckduckgo(index: Index) -> Route:
    """`POST /html/` of DuckDuckGo, as the package ddgs reads it."""

    def reply(request: Request) -> Route:
        asked = _asked(request)
        age_days = {"d": 1, "w": 7, "m": 31, "y": 366}.get(asked.get("df", ""), 10**6)
        language = "zh" if asked["l"] == "cn-zh" else ""
        pages = index.find(asked["q"], language=language, age_days=age_days)
        entries = "".join(
            f"<div class='links_main links_deep result__body'><h2 class='result__title'><a href='{page.url}'>"
            f"{html.escape(page.title)}</a></h2><a class='result__snippet' href='{page.url}'>"
            f"{html.escape(page.text)}</a></div>"
            for page in pages
        )
        return answer(f"<html><body><div id='links'>{entries}</div></body></html>")

    return _route(reply)
