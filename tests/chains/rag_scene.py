"""A small knowledge base without weights, and a chain over it with a scripted engine behind the services themselves."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from moesaic.chains import CitedAnswer, RagChain, RagOptions
from moesaic.retrieval import Document, KnowledgeBase, ScriptedEmbedder
from moesaic.server import InferenceService, InProcessClient, ServedModel
from moesaic.server.engine import ScriptedEngine, running

__all__ = ["DOCUMENTS", "RagScene", "asking", "assert_exact", "made_base"]

DOCUMENTS = {
    "pets": "The cat sleeps on the mat.\n\nDogs bark at night. A parrot lives for 60 years.",
    "install": "Install\n=======\n\nInstall it with pip. Then start the server.\n\nThe server listens on port 8080.",
    "宠物": "猫睡在垫子上。\n\n狗在夜里叫。鹦鹉能活六十年。",
}


class RagScene(NamedTuple):
    """A chain, and the engine at the other end."""

    chain: RagChain
    engine: ScriptedEngine


def made_base(folder: Path, texts: dict[str, str] | None = None) -> KnowledgeBase:
    """A base of these texts, by id."""
    base = KnowledgeBase.create(folder, embedder=ScriptedEmbedder(256))
    base.add([Document(id=name, title=name, text=text) for name, text in (texts or DOCUMENTS).items()])
    return base


@asynccontextmanager
async def asking(
    base: KnowledgeBase, engine: ScriptedEngine | None = None, *, timeout_s: float = 30.0, **options: Any
) -> AsyncIterator[RagScene]:
    """A chain for the time of a block; it never declines unless it is told when."""
    engine = engine or ScriptedEngine()
    async with running(engine):
        client = InProcessClient(InferenceService(engine, ServedModel(name="tiny", weight_version="w1")))
        chosen = RagOptions(**({"threshold": 0.0} | options))
        yield RagScene(RagChain(base=base, client=client, options=chosen, timeout_s=timeout_s), engine)


def assert_exact(base: KnowledgeBase, answers: Iterable[CitedAnswer]) -> int:
    """Every citation is what stands there, and what it supports stands in the answer; gives how many there are."""
    count = 0
    for answer in answers:
        for citation in answer.citations:
            assert base.text(citation.document)[citation.start : citation.end] == citation.quote
            assert 0 < len(citation.quote) <= 300
            assert 0 <= citation.answer_start < citation.answer_end <= len(answer.answer)
            count += 1
    return count
