"""The program of the process that reads pages: HTML in, title and readable text out, by trafilatura.

It runs apart because what it is given is hostile: parsing is code in C, and there are pages of one megabyte on which it
works for minutes. Its caller kills it then. It is started by path and isolated (`python -I`), so it imports nothing of
Moesaic; its environment is empty and its memory is bounded.

In and out are frames: a length of eight bytes, then JSON. An empty one says that the program is ready; {"html",
"characters"} asks; {"title", "text", "published", "truncated"} or {"error"} answers.
"""

import json
import resource
import sys
from typing import Any, BinaryIO

__all__ = ["main", "read_page"]

_MEMORY_BYTES = 3 * 2**30


def read_page(html: str, characters: int) -> dict[str, Any]:
    """Title, readable text of at most `characters`, and date of a page."""
    from trafilatura import bare_extraction, html2txt

    found = bare_extraction(html, with_metadata=True, include_comments=False, include_tables=True)
    title, text, published = "", "", ""
    if found is not None and not isinstance(found, dict):
        title, text, published = found.title or "", found.text or "", found.date or ""
    # What is too short for an article, such as a list of links or a form, is still what the page says.
    text = text.strip() or html2txt(html).strip() or html2txt(f"<html><body>{html}</body></html>").strip()
    return {
        "title": title[:1000],
        "text": text[:characters],
        "published": published[:40],
        "truncated": len(text) > characters,
    }


def main() -> None:
    """Answer frames until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    read_page("<p>", 1)  # what the first page needs is loaded before someone counts the time of a page
    _write_frame(target, {})
    while (asked := _read_frame(source)) is not None:
        try:
            answer = read_page(asked["html"], asked["characters"])
        except Exception as error:
            # Whatever a hostile page brings about in the parser is told to the caller, who knows the page.
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        _write_frame(target, answer)


def _read_frame(source: BinaryIO) -> dict[str, Any] | None:
    header = source.read(8)
    if len(header) < 8:
        return None

    frame: dict[str, Any] = json.loads(source.read(int.from_bytes(header, "big")))
    return frame


def _write_frame(target: BinaryIO, frame: dict[str, Any]) -> None:
    content = json.dumps(frame).encode()
    target.write(len(content).to_bytes(8, "big") + content)
    target.flush()


if __name__ == "__main__":
    main()
