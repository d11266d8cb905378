"""Sources into documents: text, JSON lines, HTML, Parquet, manual pages and knowledge bases.

- A file that cannot be read, or a line that is no record, is named in the report, and the others are read.
- Folders are walked in order of names; hidden files and links are passed over, and so are the legal files and change
  logs of Debian packages. Any file may be gzipped.
- JSON lines and Parquet are streamed; other files are read whole.
"""

import gzip
import importlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moesaic.errors import CorpusError, DocumentError, MissingDependencyError
from moesaic.training.data.long_text import divided
from moesaic.training.data.man_page import read_man_page
from moesaic.training.data.source import SourceConfig
from moesaic.training.data.text_document import TextDocument
from moesaic.training.data.text_file import Decoded, decoded, file_bytes

__all__ = ["ReadReport", "read_source"]

_SHOWN_PROBLEMS = 20
_KNOWLEDGE_BASE = "kb:"
_LONGEST_LINE = 64 << 20
_SUFFIXES = {
    "text": (".txt", ".text", ".md", ".markdown", ".rst", ""),
    "jsonl": (".jsonl", ".ndjson"),
    "html": (".html", ".htm", ".xhtml"),
    "parquet": (".parquet",),
}
_FORMAT_OF = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes}
_MAN_PAGE = re.compile(r"\.[1-9][a-z]*$")
_NO_CONTENT = re.compile(r"(?:copyright|changelog.*|news\.debian.*|objects\.inv|\.buildinfo)", re.IGNORECASE)


@dataclass(kw_only=True)
class ReadReport:
    """What was read; filled while the documents are."""

    files: int = 0
    documents: int = 0
    broken_documents: int = 0
    """Documents with places that were no text in the encoding."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """Files of unknown types, by suffix."""
    problem_count: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)
    """The first problems: where, and why."""

    def problem(self, place: str, reason: object) -> None:
        """Note what could not be read."""
        self.problem_count += 1
        if len(self.problems) < _SHOWN_PROBLEMS:
            self.problems.append({"place": place, "reason": str(reason)})


def read_source(source: SourceConfig, report: ReadReport | None = None) -> Iterator[TextDocument]:
    """The documents of a source, in order.

    Raises:
        CorpusError: a path does not exist, or there is no document at all.
        MissingDependencyError: Parquet, HTML or a knowledge base needs a package that is not installed.
        NotFoundError: there is no knowledge base of this name.
    """
    report = ReadReport() if report is None else report
    before = report.documents
    for given in source.paths:
        texts = _knowledge_base(given) if given.startswith(_KNOWLEDGE_BASE) else _files(given, source, report)
        for place, text in texts:
            report.broken_documents += text.broken > 0
            parts = list(divided(text.text, source.longest))
            for number, part in enumerate(parts, start=1):
                name = place if len(parts) == 1 else f"{place}#{number}"
                if part.strip():
                    report.documents += 1
                    yield TextDocument(id=name, text=part, corpus=source.name, broken=text.broken)
    if report.documents == before:
        reasons = "; ".join(f"{problem['place']}: {problem['reason']}" for problem in report.problems[:3])
        raise CorpusError(
            f"source {source.name!r} has no document in {', '.join(source.paths)} "
            f"({reasons or 'no files of a known type'}): give other paths, or another format"
        )


def _files(given: str, source: SourceConfig, report: ReadReport) -> Iterator[tuple[str, Decoded]]:
    path = Path(given).expanduser()
    if not path.exists():
        raise CorpusError(f"source {source.name!r}: there is no file or folder {given!r}; give a path that exists")

    for file in _walked(path) if path.is_dir() else [path]:
        kind = _format(file, source)
        if kind is None:
            suffix = file.suffix.lower() or file.name
            report.passed_over[suffix] = report.passed_over.get(suffix, 0) + 1
            continue

        report.files += 1
        name = str(file.relative_to(path.parent) if path.is_dir() else file.name)
        try:
            yield from _READERS[kind](file, name, source, report)
        except (CorpusError, DocumentError) as error:
            report.problem(name, error)


def _walked(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if (
                not name.startswith(".")
                and not path.is_symlink()
                and path.is_file()
                and not _NO_CONTENT.fullmatch(name)
            ):
                yield path


def _format(file: Path, source: SourceConfig) -> str | None:
    if source.format != "auto":
        return source.format

    name = file.name.removesuffix(".gz")
    if _MAN_PAGE.search(name) and any(part.startswith("man") for part in file.parts[:-1]):
        return "man"

    return _FORMAT_OF.get(Path(name).suffix.lower())


def _text(file: Path, name: str, source: SourceConfig, report: ReadReport) -> Iterator[tuple[str, Decoded]]:
    found = decoded(file_bytes(file), source.encoding)
    if not source.by_line:
        yield name, found
        return

    for number, line in enumerate(found.text.splitlines(), start=1):
        yield f"{name}:{number}", Decoded(line, line.count("\ufffd") if found.broken else 0)


def _html(file: Path, name: str, source: SourceConfig, report: ReadReport) -> Iterator[tuple[str, Decoded]]:
    # Imported here: it needs selectolax, which text alone does not.
    from moesaic.retrieval.html_page import read_html

    found = decoded(file_bytes(file), source.encoding)
    yield name, Decoded(read_html(found.text).text, found.broken)


def _man(file: Path, name: str, source: SourceConfig, report: ReadReport) -> Iterator[tuple[str, Decoded]]:
    found = decoded(file_bytes(file), source.encoding)
    yield name, Decoded(read_man_page(found.text), found.broken)


def _jsonl(file: Path, name: str, source: SourceConfig, report: ReadReport) -> Iterator[tuple[str, Decoded]]:
    number = 0
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
            while line := lines.readline(_LONGEST_LINE):
                number += 1
                if not line.strip():
                    continue

                try:
                    yield f"{name}:{number}", _field(line, source)
                except CorpusError as error:
                    report.problem(f"{name}:{number}", error)
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"it cannot be read after line {number} ({error})") from error


def _field(line: bytes, source: SourceConfig) -> Decoded:
    found = decoded(line, source.encoding)
    try:
        record: Any = json.loads(found.text)
    except ValueError as error:
        raise CorpusError(f"the line is no JSON ({error})") from error

    value = record.get(source.text_field) if isinstance(record, dict) else None
    if not isinstance(value, str):
        fields = ", ".join(map(repr, record)) if isinstance(record, dict) else "none"
        raise CorpusError(f"the line has no text in {source.text_field!r} (its fields: {fields})")

    # Half a surrogate can be written in JSON, but not in UTF-8.
    sound = value.encode("utf-8", "replace").decode()
    return Decoded(sound, found.broken + sum(map(str.__ne__, sound, value)))


def _parquet(file: Path, name: str, source: SourceConfig, report: ReadReport) -> Iterator[tuple[str, Decoded]]:
    try:
        # By name: pyarrow has no types that could be checked.
        pyarrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingDependencyError(
            f"Parquet needs pyarrow, which cannot be imported ({error}): pip install 'moesaic[train]'"
        ) from error

    number = 0
    try:
        with parquet.ParquetFile(file) as table:
            if source.text_field not in table.schema_arrow.names:
                columns = ", ".join(map(repr, table.schema_arrow.names))
                raise CorpusError(f"it has no column {source.text_field!r} (its columns: {columns})")

            for batch in table.iter_batches(batch_size=256, columns=[source.text_field]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    if isinstance(value, str):
                        yield f"{name}:{number}", Decoded(value, 0)
                    elif value is not None:
                        raise CorpusError(f"column {source.text_field!r} holds {type(value).__name__}, not text")
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"it cannot be read after row {number} ({error})") from error


def _knowledge_base(given: str) -> Iterator[tuple[str, Decoded]]:
    # Imported here: it needs the retrieval extra.
    from moesaic.retrieval import KnowledgeHome

    with KnowledgeHome().open(given.removeprefix(_KNOWLEDGE_BASE)) as base:
        for document in base.documents():
            yield f"{given}/{document.id}", Decoded(base.text(document.id), 0)


_Reader = Callable[[Path, str, SourceConfig, ReadReport], Iterator[tuple[str, Decoded]]]

_READERS: dict[str, _Reader] = {"text": _text, "jsonl": _jsonl, "html": _html, "parquet": _parquet, "man": _man}
