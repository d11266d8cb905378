"""The Python language reference as documents: the topics that the standard library carries for `help()`.

Every installation of Python has them (`pydoc_data.topics`), so that a knowledge base can be tried without a download.
One document for each topic, its text unchanged.
"""

from moesaic.retrieval.document import Document
from moesaic.retrieval.outline import sections_of, underlined_headings

__all__ = ["python_reference"]


def python_reference() -> list[Document]:
    """One document for each topic, in order; the id is `python/` and the topic's name."""
    from pydoc_data.topics import topics

    documents = []
    for name, text in sorted(topics.items()):
        headings = underlined_headings(text)
        documents.append(
            Document(
                id=f"python/{name}",
                title=headings[0].text if headings else name,
                text=text,
                source="python-reference",
                sections=sections_of(text, headings),
            )
        )
    return documents
