"""What the project's documents promise, read out of their Markdown: links, paths, commands, the annotated tree."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Link", "code_blocks", "commands", "headings", "links", "paths_in_code", "tree_paths"]

_FENCE = re.compile(
    r"^(?P<fence>```+|~~~+)(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
_TREE_LINE = re.compile(r"(?P<indent>[ │├└─]*)(?P<names>\S+(?: \S+)*)")


class Link(NamedTuple):
    """A relative link: the path as written (empty for the same file) and the heading's anchor (empty for the whole)."""

    path: str
    anchor: str


def _prose(text: str) -> str:
    return _FENCE.sub("", text)


def code_blocks(text: str, *languages: str) -> list[str]:
    """Bodies of the fenced blocks marked with one of `languages`."""
    return [found["body"] for found in _FENCE.finditer(text) if found["language"] in languages]


def links(text: str) -> list[Link]:
    """Links that stay inside the repository."""
    targets = (found["target"] for found in _LINK.finditer(_CODE_SPAN.sub("", _prose(text))))
    inside = (target.partition("#") for target in targets if not re.match(r"[a-z]+:", target))
    return [Link(path, anchor) for path, _, anchor in inside]


def headings(text: str) -> set[str]:
    """Anchors of the headings, spelt as forges spell them."""
    titles = re.findall(r"^#+\s+(.+?)\s*$", _prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


_BUILT = ("build", "dist")  # may lie there or not


def paths_in_code(text: str, root: Path) -> list[str]:
    """Code spans that name a path of the repository: of two parts or more, the first of which is there and kept."""
    spans = (span for span in _CODE_SPAN.findall(_prose(text)) if "/" in span and _PATH.fullmatch(span))
    firsts = ((span, span.partition("/")[0]) for span in spans)
    return [span for span, first in firsts if first not in _BUILT and (root / first).exists()]


def commands(text: str) -> Iterator[list[str]]:
    """Words of each command in the shell blocks, without comments and variable settings; `&&`, `;` and `|` separate."""
    for block in code_blocks(text, "bash", "sh", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if not set(word) <= set("();|&<>"):
                    words.append(word)
                elif words := [*_without_settings(words)]:
                    yield words
                    words = []


def _without_settings(words: list[str]) -> list[str]:
    first = next((rank for rank, word in enumerate(words) if not re.match(r"[A-Z_]\w*=", word)), len(words))
    return words[first:]


def tree_paths(block: str) -> list[str]:
    """Paths of an annotated tree.

    A line is an indent (blanks or box characters), one or more names with one blank between them, and after two blanks
    or more its gloss. Names with a final slash are folders; lines that are indented further lie in the last of them.
    """
    paths: list[str] = []
    folders: list[tuple[int, str]] = []
    for line in block.splitlines():
        if not (found := _TREE_LINE.match(line)) or not line.strip():
            continue
        indent = len(found["indent"])
        folders = [(level, folder) for level, folder in folders if level < indent]
        parent = folders[-1][1] if folders else ""
        here = [parent + name for name in found["names"].split(" ")]
        paths += here
        if here[-1].endswith("/"):
            folders.append((indent, here[-1]))
    return paths
