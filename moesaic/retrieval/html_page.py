"""The text of an HTML page: its main part as paragraphs, headings, lists, tables and code.

- What surrounds the text (navigation, scripts, forms, what is hidden) is left out; if the page has one `main` or
  `article`, the rest of the page is too.
- The text is written anew, so that it has no offsets into the page: its source map is empty.
"""

import re
from typing import Any, NamedTuple

from moesaic.retrieval.dependency import require
from moesaic.retrieval.outline import Heading

__all__ = ["HtmlPage", "read_html"]

_LEFT_OUT = "script, style, noscript, template, svg, nav, form, button, iframe, head, [hidden], [aria-hidden=true]"
_BLOCK_LIST = (
    "address article aside blockquote body dd details div dl dt fieldset figcaption figure footer header hr html "
    "legend li main ol p section summary table tbody tfoot thead ul"
)
_BLOCKS = frozenset(_BLOCK_LIST.split())
_SPACES = re.compile(r"[ \t\r\n\f]+")


class HtmlPage(NamedTuple):
    """Title (empty if there is none), text, and the headings in it."""

    title: str
    text: str
    headings: list[Heading]


def read_html(source: str) -> HtmlPage:
    """Read a page; what is malformed is read as browsers do."""
    tree = require("selectolax.lexbor").LexborHTMLParser(source)
    title_node = tree.css_first("title")
    title = _SPACES.sub(" ", title_node.text()).strip() if title_node is not None else ""
    for node in tree.css(_LEFT_OUT):
        node.decompose()
    mains = [nodes[0] for name in ("main", "article") if len(nodes := tree.css(name)) == 1]
    page = _PageText()
    root = mains[0] if mains else tree.body
    if root is not None:
        page.take(root)
    page.end_block()
    return HtmlPage(title, "".join(page.parts), page.headings)


class _PageText:
    """Collects blocks while the tree is walked."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.headings: list[Heading] = []
        self._length = 0
        self._last = ""
        self._line = ""
        self._in_item = False

    def take(self, node: Any) -> None:
        """Walk the children of a node."""
        for child in node.iter(include_text=True):
            self._take_one(child)

    def _take_one(self, node: Any) -> None:
        tag = node.tag
        if tag == "-text":
            self._line += _SPACES.sub(" ", node.text_content or "")
        elif tag == "br":
            self._line += "\n"
        elif tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.end_block()
            self._add_heading(node, int(tag[1]))
        elif tag == "pre":
            self.end_block()
            self._add(node.text().strip("\n").rstrip(), "code")
        elif tag == "tr":
            self.end_block()
            cells = [_one_line(cell) for cell in node.iter() if cell.tag in ("td", "th")]
            self._add("| " + " | ".join(cells) + " |" if any(cells) else "", "row")
        elif tag in _BLOCKS:
            self.end_block()
            self._in_item = self._in_item or tag == "li"
            self.take(node)
            self.end_block()
        else:
            self.take(node)

    def end_block(self) -> None:
        """Write the text that was gathered as a paragraph, or as the item that it begins."""
        lines = (_SPACES.sub(" ", line).strip() for line in self._line.split("\n"))
        self._line = ""
        if body := "\n".join(line for line in lines if line):
            self._add(f"- {body}" if self._in_item else body, "item" if self._in_item else "paragraph")
            self._in_item = False

    def _add_heading(self, node: Any, level: int) -> None:
        if words := _one_line(node).removesuffix("¶").strip():
            self._add(words, "heading")
            self.headings.append(Heading(self._length - len(words), self._length, level, words))

    def _add(self, block: str, kind: str) -> None:
        """Add a block: items and rows stand on lines of their own, other blocks have a blank line between them."""
        if not block:
            return

        gap = "\n" if kind == self._last and kind in ("item", "row") else "\n\n"
        self.parts += [gap, block] if self.parts else [block]
        self._length += len(block) + (len(gap) if len(self.parts) > 1 else 0)
        self._last = kind


def _one_line(node: Any) -> str:
    return _SPACES.sub(" ", node.text()).strip()
