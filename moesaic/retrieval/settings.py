"""What a knowledge base was made with, and which generation of its indexes counts: the `settings` table."""

import json
import sqlite3
from dataclasses import dataclass
from typing import NamedTuple, Self

from moesaic.errors import DamagedKnowledgeBaseError, EmbedderMismatchError, InputError
from moesaic.retrieval.chunker import ChunkOptions
from moesaic.retrieval.embedder import Embedder
from moesaic.retrieval.index_files import FileDigests

__all__ = ["Generation", "KnowledgeBaseSettings"]

_UPSERT = "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Generation(NamedTuple):
    """The indexes that belong to the documents of one commit; number 0 is that of an empty base, without files."""

    number: int
    files: FileDigests

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> Self:
        """The generation that counts in the connection's snapshot."""
        values = dict(connection.execute("SELECT name, value FROM settings"))
        return cls(int(values["generation"]), json.loads(values["index_files"]))

    def write(self, connection: sqlite3.Connection) -> None:
        """Make this the generation that counts, once the connection's transaction commits."""
        connection.execute(_UPSERT, ("generation", str(self.number)))
        connection.execute(_UPSERT, ("index_files", json.dumps(dict(self.files))))


@dataclass(frozen=True, kw_only=True)
class KnowledgeBaseSettings:
    """Fixed when a knowledge base is made: other vectors or other chunks mean another base."""

    embedder: str
    """Name by which `load_embedder` finds the embedder."""
    embedder_digest: str
    """Its identity; the name may come to mean something else, this may not."""
    dimension: int
    """Length of its vectors."""
    chunks: ChunkOptions
    """How documents are divided."""

    def to_rows(self) -> dict[str, str]:
        """The rows of a new base."""
        return {
            "embedder": self.embedder,
            "embedder_digest": self.embedder_digest,
            "dimension": str(self.dimension),
            "chunks": json.dumps(self.chunks.to_json()),
            "generation": "0",
            "index_files": "{}",
        }

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> Self:
        """The settings that are stored.

        Raises:
            DamagedKnowledgeBaseError: one is missing or makes no sense.
        """
        values = dict(connection.execute("SELECT name, value FROM settings"))
        try:
            return cls(
                embedder=values["embedder"],
                embedder_digest=values["embedder_digest"],
                dimension=int(values["dimension"]),
                chunks=ChunkOptions.from_json(json.loads(values["chunks"])),
            )
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise DamagedKnowledgeBaseError(
                f"the settings of the knowledge base are damaged ({error!r}): restore it from a copy, or make it anew"
            ) from error

    def check(self, embedder: Embedder) -> None:
        """See that an embedder is the one whose vectors are stored.

        Raises:
            EmbedderMismatchError: it is another one.
        """
        if embedder.digest != self.embedder_digest or embedder.dimension != self.dimension:
            raise EmbedderMismatchError(
                f"the vectors of this knowledge base come from {self.embedder} (digest {self.embedder_digest[:12]}, "
                f"{self.dimension} numbers), not from {embedder.name} (digest {embedder.digest[:12]}, "
                f"{embedder.dimension} numbers): use that embedder, or add the documents to a new base with this one"
            )
