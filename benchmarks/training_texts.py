"""Texts to train and measure on: Python's own documentation, and the data sets of a folder if there is one.

A corpus is a list of documents of about two thousand characters, in an order that does not change. What is held out is
chosen by the document's content, so that it is the same whatever else is read.
"""

import ast
import gzip
import hashlib
import json
import re
import sysconfig
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

__all__ = ["corpora", "digest", "docstrings", "held_out", "pieces", "python_topics", "units"]

_SIZE = 2_000
_MOST_BYTES = 1_200_000
_LAW_ARTICLES = 6_000
_SKIPPED = {"site-packages", "test", "tests", "idlelib", "lib2to3", "pydoc_data", "__pycache__"}
_UNIT = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")


def corpora(data: Path | None, most_bytes: int = _MOST_BYTES) -> dict[str, list[str]]:
    """Corpora by name; those of `data` only if their files are there."""
    found = {"python reference": python_topics(), "docstrings": docstrings(most_bytes)}
    if data is not None:
        for name, file in (("wikitext", "wikitext2_valid.txt"), ("shakespeare", "tinyshakespeare.txt")):
            if (path := data / "lm" / file).is_file():
                found[name] = pieces(path.read_text(encoding="utf-8"))
        if (path := data / "law" / "articles.jsonl.gz").is_file():
            found["law"] = _law(path)
    return {name: _cut(documents, most_bytes) for name, documents in found.items()}


def python_topics() -> list[str]:
    """Python's reference, as it ships with every interpreter."""
    from pydoc_data.topics import topics

    return [piece for name in sorted(topics) for piece in pieces(topics[name])]


def docstrings(most_bytes: int) -> list[str]:
    """Docstrings of the standard library's modules, classes and functions, a module a document."""
    found: list[str] = []
    total = 0
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if _SKIPPED & set(path.relative_to(root).parts) or total > most_bytes:
            continue
        text = "\n\n".join(_docstrings_of(path))
        if len(text) > 200:
            found += pieces(text)
            total += len(text)
    return found


def pieces(text: str, size: int = _SIZE) -> list[str]:
    """A text cut between paragraphs, or else lines, into documents of about `size` characters."""
    found, part = list[str](), ""
    for paragraph in re.split(r"\n\s*\n", text):
        for line in [paragraph] if len(paragraph) <= 2 * size else paragraph.split("\n"):
            part = f"{part}\n\n{line}" if part else line
            if len(part) >= size:
                found.append(part.strip())
                part = ""
    return found + ([part.strip()] if part.strip() else [])


def held_out(document: str, share: float) -> bool:
    """Whether a document belongs to the share of all that is held out."""
    return int.from_bytes(hashlib.sha256(document.encode()).digest()[:4]) < share * 2**32


def digest(texts: Sequence[str]) -> str:
    """Identity of texts in their order."""
    total = hashlib.sha256()
    for text in texts:
        total.update(text.encode("utf-8", "replace") + b"\0")
    return total.hexdigest()[:12]


def units(text: str) -> list[str]:
    """Words, and single Chinese characters; written apart from the code that is measured with it."""
    return _UNIT.findall(text.lower())


def _docstrings_of(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # a sample of broken code among the sources
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and len(text) > 60:
                yield text


def _law(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        articles = [json.loads(line)["text"] for line in islice(file, _LAW_ARTICLES)]
    return pieces("\n\n".join(articles), _SIZE // 3)


def _cut(documents: list[str], most_bytes: int) -> list[str]:
    total, kept = 0, []
    for document in documents:
        total += len(document.encode("utf-8", "replace"))
        if total > most_bytes:
            break
        kept.append(document)
    return kept
