"""Documents for the tests, and texts for property tests."""

from hypothesis import strategies as st

from moesaic.retrieval import Document
from moesaic.retrieval.outline import markdown_headings, sections_of

__all__ = ["PETS", "markdown", "markdown_texts", "words_of"]

_LINES = st.one_of(
    st.sampled_from(
        [
            "",
            "# A heading",
            "## Deeper `code`",
            "### 第三层标题",
            "Underlined",
            "=====",
            "-----",
            "```python",
            "```",
            "~~~",
            "- an item. It goes on.",
            "  and its second line",
            "1. first",
            "| a | b |",
            "    indented code",
            "Dr. Smith met J. K. Rowling in v3.5. She said: “Really?!” Yes.",
            "今天天气很好。我们去公园吧！“好啊……”他说；然后走了",
            "   ",
        ]
    ),
    st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=60),
    st.text(alphabet="ab 。.!?\t", max_size=200),
)

markdown_texts = st.lists(_LINES, min_size=1, max_size=30).map("\n".join).filter(lambda text: text.strip())
"""Texts with every construct that the outline, the blocks and the sentences know, and with ones that they don't."""


def markdown(text: str, document_id: str = "doc.md") -> Document:
    """A Markdown document, as the loader makes it of a clean text."""
    sections = sections_of(text, markdown_headings(text))
    return Document(id=document_id, title="doc", text=text, media_type="text/markdown", sections=sections)


def words_of(text: str) -> str:
    """Every character that is not white space."""
    return "".join(text.split())


PETS = (
    markdown("# Cats\n\nCats sleep sixteen hours a day.\n\n## Food\n\nThey eat fish and chicken.", "cats.md"),
    markdown("# Dogs\n\nDogs bark at strangers. They guard the house.\n\n## Food\n\nThey eat bones.", "dogs.md"),
    markdown("# 乌龟\n\n乌龟可以活一百年。它们吃青菜和水果。", "turtles.md"),
)
"""A small knowledge base: two English documents that share words, and a Chinese one."""
