"""Files and folders into documents; a file that cannot be one is reported by name, and the rest is loaded.

The id of a document is the file's path as seen from the folder above what was given: `kb add base docs` gives
`docs/guide/install.md`, and `kb add base docs/README.md` gives `README.md`. Adding a folder again so replaces its
documents.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from moesaic.errors import DocumentError, InputError
from moesaic.retrieval.clean_text import clean, decode
from moesaic.retrieval.document import Document
from moesaic.retrieval.html_page import read_html
from moesaic.retrieval.outline import Heading, markdown_headings, sections_of, underlined_headings
from moesaic.retrieval.python_reference import python_reference
from moesaic.retrieval.source_map import SourceMap

__all__ = ["CORPORA", "MEDIA_TYPES", "LoadProblem", "Loaded", "load_document", "load_sources"]

CORPORA: dict[str, Callable[[], Iterable[Document]]] = {"python-reference": python_reference}
"""Corpora that installed packages carry, by the name under which they are added."""

MEDIA_TYPES = {
    "": "text/plain",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".rst": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".htm": "text/html",
    ".html": "text/html",
    ".xhtml": "text/html",
}
"""Media type of each file suffix that is understood; a file without a suffix is plain text."""

_MAX_BYTES = 64 << 20


class LoadProblem(NamedTuple):
    """A file that did not become a document."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What could be loaded, and what not."""

    documents: tuple[Document, ...]
    problems: tuple[LoadProblem, ...]


def load_sources(sources: Iterable[str | Path], *, encoding: str = "utf-8") -> Loaded:
    """Load files, folders with all that is below them, and corpora by name. Hidden files of a folder are passed over.

    Raises:
        InputError: a source does not exist, or `encoding` is unknown.
    """
    documents: dict[str, Document] = {}
    problems: list[LoadProblem] = []
    for source in sources:
        for name, load in _loads(source, encoding):
            try:
                found = load()
            except DocumentError as error:
                problems.append(LoadProblem(name, str(error)))
                continue

            for document in found:
                if document.id in documents and documents[document.id].source != document.source:
                    other = documents[document.id].source
                    problems.append(
                        LoadProblem(name, f"its id {document.id!r} is that of {other} too: add the folder above both")
                    )
                else:
                    documents[document.id] = document
    return Loaded(documents=tuple(documents.values()), problems=tuple(problems))


def load_document(path: str | Path, *, id: str | None = None, encoding: str = "utf-8") -> Document:
    """Load one file.

    Args:
        path: the file.
        id: its name in a knowledge base; the file's name if not given.
        encoding: encoding of text without a byte order mark.

    Raises:
        DocumentError: it cannot become a document; the message says why.
        InputError: there is no such encoding.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MEDIA_TYPES:
        known = ", ".join(name for name in MEDIA_TYPES if name)
        raise DocumentError(f"files of type {suffix!r} are not understood; understood are {known}")

    try:
        if not path.is_file():
            raise DocumentError("it is no regular file")

        if path.stat().st_size > _MAX_BYTES:
            raise DocumentError(f"it has {path.stat().st_size:,} bytes, allowed are {_MAX_BYTES:,}: divide it")

        content = path.read_bytes()
    except OSError as error:
        raise DocumentError(f"it cannot be read ({error.strerror or error})") from error

    media_type = MEDIA_TYPES[suffix]
    return _parsed(decode(content, encoding), media_type, id or path.name, str(path))


def _parsed(source: str, media_type: str, document_id: str, origin: str) -> Document:
    stem = Path(document_id).stem
    if media_type == "text/html":
        page = read_html(source)
        text, source_map = clean(page.text).text, SourceMap()
        title, headings = page.title or _first(page.headings) or stem, page.headings
    else:
        text, source_map = clean(source)
        headings = markdown_headings(text) if media_type == "text/markdown" else underlined_headings(text)
        title = _first(headings) or stem
    return Document(
        id=document_id,
        title=title,
        text=text,
        media_type=media_type,
        source=origin,
        sections=sections_of(text, headings),
        source_map=source_map,
    )


def _first(headings: list[Heading]) -> str:
    return headings[0].text if headings else ""


def _loads(source: str | Path, encoding: str) -> Iterator[tuple[str, Callable[[], Iterable[Document]]]]:
    """Name of each file or corpus of a source, with what loads it."""
    name = str(source)
    path = Path(source).expanduser()
    if name in CORPORA and not path.exists():
        yield name, CORPORA[name]
    elif path.is_dir():
        base = path.resolve()
        for file in _files(path):
            document_id = (Path(base.name) / file.relative_to(path)).as_posix()
            yield str(file), partial(_load_one, file, document_id, encoding)
    elif os.path.lexists(path):
        yield name, partial(_load_one, path, path.name, encoding)
    else:
        raise InputError(f"there is no file or folder {name!r}; give a path, or a corpus: {', '.join(CORPORA)}")


def _load_one(path: Path, document_id: str, encoding: str) -> list[Document]:
    return [load_document(path, id=document_id, encoding=encoding)]


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))
