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
    return HtmlPage(title, page.text, page.headings)


class _PageText:
    """Collects blocks while the tree is walked."""

    def __init__(self) -> None:
        self.text = ""
        self.headings: list[Heading] = []
        self._line = ""
        self._prefix = ""

    def take(self, node: Any) -> None:
        """Walk the children of a node."""
        for child in node.iter(include_text=True):
            self._take_one(child)

    def _take_one(self, node: Any) -> None:
        tag = node.tag
        if tag == "-text":
            self._line += node.text_content or ""
        elif tag == "br":
            self._line += "\n"
        elif tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.end_block()
            self._add_heading(node, int(tag[1]))
        elif tag == "pre":
            self.end_block()
            self._add(node.text().strip("\n").rstrip())
        elif tag == "tr":
            self.end_block()
            cells = [_SPACES.sub(" ", cell.text()).strip() for cell in node.iter() if cell.tag in ("td", "th")]
            self._add("| " + " | ".join(cells) + " |" if any(cells) else "", gap="\n" if self._in_table() else "\n\n")
        elif tag in _BLOCKS:
            self.end_block()
            self._prefix = "- " if tag == "li" else self._prefix
            self.take(node)
            self.end_block()
        else:
            self.take(node)

    def end_block(self) -> None:
        """Write the text that was gathered as a paragraph or an item."""
        lines = [_SPACES.sub(" ", line).strip() for line in self._line.split("\n")] if self._line.strip() else []
        if body := "\n".join(line for line in lines if line):
            in_list = self._prefix and self.text.rpartition("\n")[2].startswith("- ")
            self._add(self._prefix + body, gap="\n" if in_list else "\n\n")
            self._prefix = ""
        self._line = ""

    def _add_heading(self, node: Any, level: int) -> None:
        words = _SPACES.sub(" ", node.text()).strip().removesuffix("¶").strip()
        if words:
            self._add(words)
            self.headings.append(Heading(len(self.text) - len(words), len(self.text), level, words))

    def _add(self, block: str, gap: str = "\n\n") -> None:
        if block:
            self.text += (gap if self.text else "") + block

    def _in_table(self) -> bool:
        return self.text.rpartition("\n")[2].startswith("| ")
